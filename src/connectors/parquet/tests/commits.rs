//! Commit objects: their rules, their format, and what is refused.

use super::*;
use crate::error::ErrorKind;
use bytes::Bytes;

const FROZEN: &[u8] = include_bytes!("../../../../tests/fixtures/dataset-commit-1.json");

#[tokio::test]
async fn the_same_request_again_changes_nothing_also_from_another_process() {
    let store = Store::memory();
    let staged = stage(&dataset(&store), 1, 4, rows(0..10)).await;
    let text = serde_json::to_string(&staged).expect("plain data");
    let staged: StagedFiles = serde_json::from_str(&text).expect("own text");
    assert_eq!(commit(&dataset(&store), 2, 4, None, &staged).await.expect("commits"), CommitOutcome::Done);
    let objects = store.list(&ObjectPath::root()).await.expect("lists");
    for generation in [1, 2, 3] {
        let outcome = commit(&dataset(&store), generation, 4, None, &staged).await.expect("answers");
        assert_eq!(outcome, CommitOutcome::AlreadyCommitted);
    }
    assert_eq!(store.list(&ObjectPath::root()).await.expect("lists"), objects);
    let mark = dataset(&store).mark(&shard()).await.expect("reads").expect("is there");
    assert_eq!((mark.generation, mark.epoch), (2, 4));
}

#[tokio::test]
async fn refuses_an_older_owner_a_gap_and_a_fork() {
    let store = Store::memory();
    let owner = dataset(&store);
    let first = stage(&owner, 2, 1, rows([1])).await;
    commit(&owner, 2, 1, None, &first).await.expect("commits");

    let zombie = stage(&dataset(&store), 1, 2, rows([7])).await;
    let outcome = commit(&dataset(&store), 1, 2, Some(1), &zombie).await.expect("answers");
    assert_eq!(outcome, CommitOutcome::Fenced { generation: 2 });
    let next = stage(&owner, 2, 5, rows([8])).await;
    for previous in [None, Some(4)] {
        let outcome = commit(&owner, 2, 5, previous, &next).await.expect("answers");
        assert!(matches!(outcome, CommitOutcome::Gap { found: Some(_) }), "{outcome:?}");
    }
    let outcome = commit(&owner, 2, 1, None, &next).await.expect("answers");
    assert!(matches!(outcome, CommitOutcome::Fork { .. }), "{outcome:?}");
    let mut other_life = request(3, 6, Some(1), &next);
    other_life.mark.incarnation = Incarnation("other".into());
    let outcome = owner.commit(&env(), other_life).await.expect("answers");
    assert!(matches!(outcome, CommitOutcome::Fork { .. }), "{outcome:?}");
    assert_eq!((followed(&store).await, listed(&store).await), (vec![1], vec![1]));
}

#[tokio::test]
async fn registers_nothing_if_a_staged_file_is_gone_or_another_one() {
    for damage in ["gone", "shorter", "longer", "other"] {
        let store = Store::memory();
        let dataset = dataset(&store);
        let staged = stage(&dataset, 1, 1, rows(0..3_000)).await;
        let path = ObjectPath::parse(PREFIX).and_then(|p| p.join(&staged.files[0].staged)).expect("valid");
        let bytes = store.get(&path, None).await.expect("reads").expect("is there");
        assert!(bytes.len() > 4096);
        let mut other = bytes.to_vec();
        match damage {
            "gone" => store.delete(&path).await.expect("deletes"),
            "shorter" => drop(other.remove(0)),
            "longer" => other.push(0),
            _ => {
                let last = other.len() - 100;
                other[last] ^= 1;
            }
        }
        if damage != "gone" {
            store.put(&path, other.into()).await.expect("puts");
        }
        let error = commit(&dataset, 1, 1, None, &staged).await.expect_err("must not register it");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
        assert!(error.to_string().contains(path.as_str()), "{error}");
        assert_eq!(dataset.mark(&shard()).await.expect("reads"), None);
        assert!(visible(&store).await.is_empty());
        // Put back, it commits.
        store.put(&path, bytes).await.expect("puts");
        assert_eq!(commit(&dataset, 1, 1, None, &staged).await.expect("commits"), CommitOutcome::Done);
    }
}

#[tokio::test]
async fn collects_what_no_epoch_will_commit() {
    let store = Store::memory();
    let owner = dataset(&store);
    let committed = stage(&owner, 1, 1, rows([1])).await;
    commit(&owner, 1, 1, None, &committed).await.expect("commits");
    let kept = stage(&owner, 1, 2, rows([2])).await;
    stage(&owner, 1, 3, rows([3])).await;
    let newer = stage(&owner, 2, 3, rows([3])).await;
    let other = EpochContext { shard: ShardKey { shard: 1, ..shard() }, ..context(1, 1) };
    let mut writer = owner.open(other).await.expect("opens");
    writer.write(Batch::new(rows([9]))).await.expect("writes");
    let elsewhere = writer.finish().await.expect("finishes").expect("some").staged;

    assert_eq!(owner.collect(&shard(), 2, std::slice::from_ref(&kept)).await.expect("collects"), 1);
    assert_eq!(owner.collect(&shard(), 2, std::slice::from_ref(&kept)).await.expect("collects"), 0);
    commit(&owner, 2, 2, Some(1), &kept).await.expect("still there");
    commit(&owner, 2, 3, Some(2), &newer).await.expect("still there");
    let staged = ObjectPath::parse(PREFIX).and_then(|p| p.join(&elsewhere.files[0].staged)).expect("valid");
    assert!(store.get(&staged, None).await.expect("reads").is_some());
    assert_eq!(listed(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn finds_the_newest_commit_without_a_complete_listing() {
    let store = Store::memory();
    let owner = dataset(&store);
    let mut previous = None;
    for epoch in [1, 2, 5, 9] {
        let staged = stage(&owner, 1, epoch, rows([epoch as i64])).await;
        commit(&owner, 1, epoch, previous, &staged).await.expect("commits");
        previous = Some(epoch);
    }
    let behind = Store::new(store::Forgetful(store.clone()));
    let mark = dataset(&behind).mark(&shard()).await.expect("reads").expect("is there");
    assert_eq!(mark.epoch, 9);
}

#[tokio::test]
async fn a_hole_or_damage_in_the_commits_is_an_error_that_names_the_object() {
    let store = Store::memory();
    let owner = dataset(&store);
    for epoch in 1..=3 {
        let staged = stage(&owner, 1, epoch, rows([epoch as i64])).await;
        commit(&owner, 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await.expect("commits");
    }
    let path = |n: u64| ObjectPath::parse(&format!("{PREFIX}/_commits/orders-0000/{n:020}.json")).expect("valid");
    let bytes = store.get(&path(2), None).await.expect("reads").expect("is there");
    let reader = DatasetReader::new(&store, PREFIX).expect("valid");

    store.delete(&path(2)).await.expect("deletes");
    let mark = dataset(&store).mark(&shard()).await.expect("reads").expect("is there");
    assert_eq!(mark.epoch, 3, "the mark never goes back");
    let error = reader.snapshot().await.expect_err("a hole");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("sequence=`2`"), "{error}");

    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 4;
        store.put(&path(2), damaged.into()).await.expect("puts");
        let error = reader.snapshot().await.expect_err("damage");
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Config), "{at}: {error}");
        assert!(error.to_string().contains(path(2).as_str()), "{error}");
    }
    let copied = store.get(&path(1), None).await.expect("reads").expect("is there");
    store.put(&path(2), copied).await.expect("puts");
    assert_eq!(reader.snapshot().await.expect_err("the commit of another number").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_size_that_no_file_has_and_a_number_without_a_next_one_are_damage() {
    let store = Store::memory();
    let owner = dataset(&store);
    let staged = stage(&owner, 1, 1, rows([1])).await;
    let mut huge = staged.clone();
    huge.files[0].bytes = u64::MAX;
    let error = commit(&owner, 1, 1, None, &huge).await.expect_err("no file has so many bytes");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(&huge.files[0].staged), "{error}");
    commit(&owner, 1, 1, None, &staged).await.expect("commits");

    let path = |n: u64| ObjectPath::parse(&format!("{PREFIX}/_commits/orders-0000/{n:020}.json")).expect("valid");
    let written = store.get(&path(1), None).await.expect("reads").expect("is there");
    let mut last = DatasetCommit::decode(&shard(), 1, &written).expect("own commit");
    last.sequence = u64::MAX;
    store.put(&path(u64::MAX), last.encode().expect("encodes")).await.expect("puts");
    let error = dataset(&store).mark(&shard()).await.expect_err("nothing can follow");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("no numbers left"), "{error}");
}

#[tokio::test]
async fn no_more_is_read_of_a_commit_or_a_compaction_than_there_can_be() {
    let store = Store::memory();
    let staged = stage(&dataset(&store), 1, 1, rows([1])).await;
    commit(&dataset(&store), 1, 1, None, &staged).await.expect("commits");
    let first = |of: &str| ObjectPath::parse(&format!("{PREFIX}/{of}/orders-0000/{:020}.json", 1)).expect("valid");
    let (committed, compacted) = (first("_commits"), first("_compactions"));
    let written = store.get(&committed, None).await.expect("reads").expect("is there");
    let mut long = written.to_vec();
    long.resize(64 << 20, b' ');
    store.put(&committed, long.clone().into()).await.expect("puts");
    assert_eq!(followed(&store).await, [1], "it may have so many bytes");
    long.push(b' ');
    store.put(&committed, long.into()).await.expect("puts");
    let reader = DatasetReader::new(&store, PREFIX).expect("valid");
    let of_commit = reader.snapshot().await.expect_err("nobody has written it");
    store.put(&committed, written).await.expect("puts");
    store.put(&compacted, vec![0_u8; (1 << 30) + 1].into()).await.expect("puts");
    let of_compaction = reader.snapshot().await.expect_err("nobody has written it");
    for (error, object) in [(of_commit, committed), (of_compaction, compacted)] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(object.as_str()) && text.contains("larger than any that is written"), "{text}");
    }
}

#[tokio::test]
async fn refuses_other_partition_columns_than_the_dataset_has() {
    let store = Store::memory();
    let staged = stage(&dataset(&store), 1, 1, rows([1])).await;
    commit(&dataset(&store), 1, 1, None, &staged).await.expect("commits");
    let other = dataset(&store).partition_by(["country"]).expect("valid");
    // Whoever recovers asks for the mark first.
    other.mark(&shard()).await.expect("reads");
    let error = other.open(context(2, 2)).await.expect_err("another layout");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn reads_the_first_format_and_refuses_a_newer_one() {
    let shard = ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 3 };
    let commit = DatasetCommit::decode(&shard, 2, FROZEN.trim_ascii_end()).expect("frozen format");
    assert_eq!((commit.mark.epoch, commit.previous, commit.rows), (9, Some(7), 2));
    assert_eq!(commit.files[0].partition["country"], None);
    assert_eq!(commit.columns[1].kind.to_string(), "list<struct<sku: utf8, qty: int64>>");
    let written = commit.encode().expect("encodes");
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(FROZEN.trim_ascii_end()));

    let newer = Bytes::from(String::from_utf8_lossy(FROZEN).replace("\"version\":1", "\"version\":2"));
    assert_eq!(DatasetCommit::decode(&shard, 2, &newer).expect_err("newer").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_before_anything_is_staged() {
    let inner = Store::memory();
    let store = Store::new(Conditionless::new(&inner));
    let dataset = ParquetDataset::in_store(&store, PREFIX).expect("valid");
    let error = dataset.open(context(1, 1)).await.expect_err("no commit would be safe");
    assert_eq!(error.kind(), ErrorKind::Config);
    let left = inner.list(&ObjectPath::parse(PREFIX).expect("valid")).await.expect("lists");
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_epoch_that_must_be_committed_is_one_without_rows_too() {
    let store = Store::memory();
    let open = || dataset(&store).partition_by(["country"]).expect("valid");
    assert_eq!(open().open(context(1, 1)).await.expect("opens").finish().await.expect("finishes"), None);
    let mut previous = None;
    let epochs = [vec![], vec![rows([1, 2])], vec![], vec![rows([3])]];
    for (epoch, batches) in (1..).zip(epochs) {
        // Each by another process.
        let dataset = open();
        let context = EpochContext { must_commit: true, ..context(1, epoch) };
        let mut writer = dataset.open(context).await.expect("opens");
        for batch in batches {
            writer.write(Batch::new(batch)).await.expect("writes");
        }
        let staged = writer.finish().await.expect("finishes").expect("must be committed").staged;
        assert_eq!(commit(&dataset, 1, epoch, previous, &staged).await.expect("commits"), CommitOutcome::Done);
        previous = Some(epoch);
    }
    assert_eq!(open().mark(&shard()).await.expect("reads").map(|m| m.epoch), Some(4));
    assert_eq!(followed(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn an_epoch_without_rows_says_nothing_of_columns() {
    let store = Store::memory();
    let owner = dataset(&store);
    let first = stage(&owner, 1, 1, rows([1])).await;
    commit(&owner, 1, 1, None, &first).await.expect("commits");
    let context = EpochContext { must_commit: true, ..context(1, 2) };
    let writer = owner.open(context).await.expect("opens");
    let staged = writer.finish().await.expect("finishes").expect("must be committed").staged;
    commit(&owner, 1, 2, Some(1), &staged).await.expect("commits");
    let snapshot = snapshot(&store).await;
    let commits = snapshot.commits();
    assert!(commits[0].columns.iter().all(|column| !column.nullable), "{:?}", commits[0].columns);
    assert_eq!(commits[1].columns, commits[0].columns);
}

#[tokio::test]
async fn a_process_lists_commits_only_until_it_knows_one() {
    let faults = Faults::none();
    let owner = dataset(&faults.store(&Store::memory()));
    let asked = async || {
        let before = faults.trace().len();
        owner.mark(&shard()).await.expect("reads");
        faults.trace().into_iter().skip(before).map(|point| point.operation).collect::<Vec<_>>()
    };
    assert_eq!(asked().await, ["list", "get"]);
    let staged = stage(&owner, 1, 1, rows([1])).await;
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    assert_eq!(asked().await, ["get", "get"]);
}
