//! What is kept, and what others keep, as it was when it was written.

use super::*;
use arrow::array::TimestampMicrosecondArray;
use std::fs;
use std::path::Path;

/// A table that `deltalake` 1.6.6 (delta-rs) has made: two files before its checkpoint, one after, and the versions before it
/// cleaned up.
async fn made_by_others() -> Store {
    let store = Store::memory();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/delta-rs");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).expect("below").to_str().expect("text").to_owned();
            let object = ObjectPath::parse(&format!("{PREFIX}/{name}")).expect("a name");
            store.put(&object, fs::read(&path).expect("a file").into()).await.expect("puts");
        }
    }
    store
}

fn changes(given: &[(i64, &str)]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from(vec![1_704_067_200_000_000; given.len()]).with_timezone("UTC");
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(given.iter().map(|r| r.0))) as _),
        ("at", Arc::new(times) as _),
        ("text", Arc::new(StringArray::from(vec!["new"; given.len()])) as _),
        ("country", Arc::new(StringArray::from_iter_values(given.iter().map(|r| r.1))) as _),
    ])
    .expect("fits")
}

#[tokio::test]
async fn a_table_that_others_made_is_read_and_merged_into() {
    let store = made_by_others().await;
    assert_eq!(ids(&store).await, [1, 2, 3, 4]);
    let owner = table(&store).partition_by(["country"]).expect("valid").disposition(Upsert::by(["id"]).newest("at"));
    let staged = stage(&owner, 1, 1, changes(&[(2, "ü"), (5, "a b")])).await;
    assert_eq!(commit(&owner, 1, 1, None, &staged).await.expect("commits"), CommitOutcome::Done);
    let mut seen = Vec::new();
    for batch in owner.read_batches().await.expect("reads") {
        let text = |name: &str| batch.column_by_name(name).expect("there").as_string::<i32>().clone();
        let ids = batch.column_by_name("id").expect("there").as_primitive::<Int64Type>().clone();
        let (texts, countries) = (text("text"), text("country"));
        let rows = ids.values().iter().zip(&texts).zip(&countries);
        seen.extend(rows.map(|((id, text), country)| {
            (*id, text.unwrap_or_default().to_owned(), country.unwrap_or_default().to_owned())
        }));
    }
    seen.sort();
    let expected = [(1, "old", "a b"), (2, "new", "ü"), (3, "old", "ü"), (4, "old", "a b"), (5, "new", "a b")];
    assert_eq!(seen, expected.map(|(id, text, country)| (id, text.to_owned(), country.to_owned())));
    assert_eq!(files(&store).await.len(), 5);
    // From a checkpoint of ours too.
    owner.checkpoint(&env()).await.expect("writes");
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 5]);
}

#[test]
fn a_mark_is_read_from_its_first_format() {
    const FROZEN: &str = include_str!("../../../../tests/fixtures/delta-mark-1.ndjson");
    let lines = FROZEN.lines().map(|line| serde_json::from_str::<actions::Line>(line).expect("an action"));
    let txns = lines.filter_map(|line| line.txn).map(|txn| (txn.app_id.clone(), txn)).collect();
    let mark = mark::decode(&shard(), &txns).expect("whole").expect("is there");
    let expected = Mark {
        incarnation: Incarnation("00112233445566778899aabbccddeeff".into()),
        generation: 3,
        epoch: 12,
        digest: "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0".into(),
    };
    assert_eq!(mark, expected);
    let written = mark::encode(&shard(), &mark, 1_704_067_200_000).expect("fits");
    let written: Vec<_> =
        written.into_iter().map(|txn| serde_json::to_string(&actions::Line::from(txn)).expect("plain data")).collect();
    assert_eq!(written, FROZEN.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_list_of_pending_files_is_read_from_its_first_format_and_damage_is_not() {
    const FROZEN: &[u8] = include_bytes!("../../../../tests/fixtures/delta-pending-1.json");
    let store = Store::memory();
    let frozen = FROZEN.trim_ascii_end();
    let log = table(&store).log;
    let head = pending::Head { enumeration: 7, newest: None };
    let staged = DeltaStaged {
        files: vec![DeltaFile {
            path: "a.parquet".into(),
            rows: 2,
            bytes: 700,
            tail_crc32c: "0a1b2c3d".into(),
            partition: [("country".to_owned(), None)].into(),
            stats: "{\"numRecords\":2}".into(),
        }],
        schema: Some("{\"type\":\"struct\",\"fields\":[]}".into()),
        ..DeltaStaged::default()
    };
    let head = pending::keep(&log, &shard(), head, &staged).await.expect("keeps");
    let folder = ObjectPath::parse(PREFIX).and_then(|p| p.join("_landfall/pending")).expect("valid");
    let [object] = &store.list(&folder).await.expect("lists")[..] else { panic!("one list") };
    let written = store.get(&object.path, None).await.expect("reads").expect("there");
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(frozen));
    assert_eq!(pending::all(&log, &shard(), head).await.expect("reads"), [staged]);

    let mut damaged = frozen.to_vec();
    damaged[40] ^= 1;
    store.put(&object.path, damaged.into()).await.expect("puts");
    assert_eq!(pending::all(&log, &shard(), head).await.expect_err("damage").kind(), ErrorKind::Corrupt);
    store.delete(&object.path).await.expect("deletes");
    assert_eq!(pending::all(&log, &shard(), head).await.expect_err("gone").kind(), ErrorKind::Corrupt);
}

#[test]
fn what_a_version_tells_of_its_load_is_read_from_its_first_format() {
    const FROZEN: &str = include_str!("../../../../tests/fixtures/delta-load-1.json");
    let load: super::super::ledger::Load = serde_json::from_str(FROZEN).expect("the first format is read for ever");
    assert_eq!(serde_json::to_string(&load).expect("plain data"), FROZEN.trim_end());
}

#[tokio::test]
async fn a_newer_list_of_pending_files_asks_for_a_newer_version() {
    let log = table(&Store::memory()).log;
    let newer = br#"{"format":"landfall delta pending","version":2,"lists":[]}"#;
    let error = pending::fuzzed(&log, &shard(), newer).await.expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("_landfall/pending/") && error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn a_list_of_pending_files_that_exists_already_is_the_same_one_if_it_is_there() {
    let log = table(&Store::memory()).log;
    let (begun, staged) = (pending::Head { enumeration: 7, newest: None }, DeltaStaged::default());
    let head = pending::keep(&log, &shard(), begun, &staged).await.expect("keeps");
    assert_eq!(pending::keep(&log, &shard(), begun, &staged).await.expect("it is there"), head);
    let faults = Faults::at(crate::testkit::Target::operation("create"), Mode::Conflict);
    let log = table(&faults.store(&Store::memory())).log;
    let error = pending::keep(&log, &shard(), begun, &staged).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
