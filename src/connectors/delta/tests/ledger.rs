//! The ledger of loads, which says what has brought a row.

use super::*;
use crate::sink::LoadEntry;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde_json::Value;

/// The rows of a table of the ledger, as JSON, in order of `by`.
async fn entries(store: &Store, name: &str, by: &str) -> Vec<Value> {
    let table = DeltaTable::in_store(store, &format!("{PREFIX}/_landfall/{name}")).expect("valid");
    let mut text = arrow::json::LineDelimitedWriter::new(Vec::new());
    for batch in table.read_batches().await.expect("reads") {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
            let is_time = matches!(field.data_type(), DataType::Timestamp(..));
            let column = if is_time { cast(column, &DataType::Int64).expect("a time") } else { Arc::clone(column) };
            (field.name(), column, true)
        });
        text.write(&RecordBatch::try_from_iter_with_nullable(columns).expect("fits")).expect("JSON");
    }
    text.finish().expect("JSON");
    let text = String::from_utf8(text.into_inner()).expect("UTF-8");
    let mut rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    rows.sort_by_key(|row| row[by].as_i64());
    rows
}

/// The epochs that are entered.
pub(super) async fn epochs(store: &Store) -> Vec<i64> {
    entries(store, "loads", "epoch").await.iter().filter_map(|row| row["epoch"].as_i64()).collect()
}

async fn load(table: &DeltaTable, epochs: std::ops::RangeInclusive<u64>) {
    for epoch in epochs {
        let staged = stage(table, 1, epoch, rows([epoch as i64, 1])).await;
        let outcome = commit(table, 1, epoch, (epoch > 1).then_some(epoch - 1), &staged).await.expect("commits");
        assert_eq!(outcome, CommitOutcome::Done);
    }
}

#[tokio::test]
async fn a_row_names_its_load_and_the_load_is_entered() {
    let store = Store::memory();
    let table = table(&store).upsert(["id"]);
    let staged = stage(&table, 1, 7, rows([1, 2])).await;
    let entry = LoadEntry { position: "{\"segment\":4}".into(), ..LoadEntry::default() };
    let request = CommitRequest { load: entry, ..request(1, 7, None, &staged) };
    table.commit(&env(), request).await.expect("commits");
    load(&table, 8..=8).await;
    assert_eq!(super::super::ledger::enter(&table, &env(), 1).await.expect("enters"), 2);

    let loads = entries(&store, "loads", "epoch").await;
    assert_eq!(loads.len(), 2);
    let expected = serde_json::json!({
        "load_id": "orders-0000-00000000000000000007", "pipeline": "orders", "shard": 0, "epoch": 7, "generation": 1,
        "incarnation": "life", "disposition": "upsert", "schema_version": 1, "rows_staged": 2, "rows_inserted": 2,
        "rows_updated": 0, "rows_deleted": 0, "position": "{\"segment\":4}", "table_version": 0,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&loads[0][name], value, "{name}");
    }
    assert!(loads[0]["committed_at"].as_i64().is_some() && loads[0]["digest"].as_str().is_some());
    assert_eq!((&loads[1]["rows_inserted"], &loads[1]["rows_updated"]), (&1.into(), &1.into()));
    let mut of_rows = Vec::new();
    for batch in table.read_batches().await.expect("reads") {
        let loads = batch.column_by_name("_landfall_load").expect("there").as_string::<i32>().clone();
        of_rows.extend(loads.iter().flatten().map(str::to_owned));
    }
    of_rows.sort();
    let id = |row: usize| loads[row]["load_id"].as_str().expect("a text").to_owned();
    assert_eq!(of_rows, [id(0), id(1), id(1)]);
}

#[tokio::test]
async fn columns_are_entered_when_they_change_and_only_then() {
    let store = Store::memory();
    let table = table(&store);
    load(&table, 1..=2).await;
    let more = rows([3]);
    let more = RecordBatch::try_from_iter([
        ("id", Arc::clone(more.column(0))),
        ("country", Arc::clone(more.column(1))),
        ("more", Arc::new(Int64Array::from(vec![1])) as _),
    ])
    .expect("fits");
    let staged = stage(&table, 1, 3, more).await;
    commit(&table, 1, 3, Some(2), &staged).await.expect("commits");
    load(&table, 4..=4).await;
    let schemas = entries(&store, "schema", "version").await;
    let told: Vec<_> = schemas.iter().map(|row| (row["version"].as_i64(), row["load_id"].as_str())).collect();
    assert_eq!(
        told,
        [(Some(1), Some("orders-0000-00000000000000000001")), (Some(2), Some("orders-0000-00000000000000000003"))]
    );
    assert!(schemas[1]["columns"].as_str().expect("a text").contains("{\"name\":\"more\",\"type\":\"long\"}"));
    let loads = entries(&store, "loads", "epoch").await;
    assert_eq!(
        loads.iter().map(|row| row["schema_version"].as_i64()).collect::<Vec<_>>(),
        [Some(1), Some(1), Some(2), Some(2)]
    );
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_fails_no_commit_and_is_entered_later() {
    let store = Store::memory();
    load(&table(&store), 1..=1).await;
    let count = {
        let faults = Faults::none();
        let scratch = Store::memory();
        load(&table(&scratch), 1..=1).await;
        let table = table(&faults.store(&scratch));
        load(&table, 2..=2).await;
        faults.count()
    };
    // The last operation of a commit is that of its entry.
    let faults = Faults::of([Plan { at: count - 1, mode: Mode::Fail }]);
    load(&table(&faults.store(&store)), 2..=2).await;
    assert_eq!(epochs(&store).await, [1], "the entry failed, the commit did not");
    // Another process, and the version in between is another's.
    let log = table(&store).log;
    log.create(&env(), 2, vec![]).await.expect("creates");
    load(&table(&store), 3..=3).await;
    assert_eq!(epochs(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn what_others_did_before_the_first_load_is_not_read_for_the_ledger() {
    let store = Store::memory();
    let metadata = actions::Metadata {
        id: "made".into(),
        schema_string: schema::text(&rows([1]).schema()).expect("known"),
        ..Default::default()
    };
    let log = table(&store).log;
    log.create(&env(), 0, vec![features::oldest().into(), metadata.into()]).await.expect("creates");
    for version in 1..50 {
        log.create(&env(), version, vec![]).await.expect("creates");
    }
    let faults = Faults::none();
    load(&table(&faults.store(&store)), 1..=1).await;
    let of_others = |name: &str| name.contains("orders/_delta_log/") && name.contains("0000000003");
    let reads = faults.trace().iter().filter(|point| of_others(&point.name)).count();
    assert_eq!(reads, 11, "versions 3 and 30 to 39, once each, when the table was opened");
    assert_eq!(epochs(&store).await, [1]);
    // Very many of others in between: a commit reads a part of them, and the next goes on there.
    for version in 51..51 + 5000 {
        log.create(&env(), version, vec![]).await.expect("creates");
    }
    load(&table(&store), 2..=2).await;
    assert_eq!(epochs(&store).await, [1]);
    load(&table(&store), 3..=3).await;
    assert_eq!(epochs(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn those_that_follow_the_ledger_as_a_stream_see_a_load_once() {
    let store = Store::memory();
    load(&table(&store), 1..=70).await;
    let [loads, _] = super::super::ledger::tables(&table(&store)).expect("valid");
    let (mut version, mut new, mut merged) = (0, 0, 0);
    while let Some(lines) = loads.commit(version).await.expect("reads") {
        for add in lines.into_iter().filter_map(|line| line.add) {
            let rows = stats::rows(add.stats.as_deref()).expect("known");
            *(if add.data_change { &mut new } else { &mut merged }) += rows;
        }
        version += 1;
    }
    assert!(new == 70 && merged > 30, "{new} {merged}");
}

#[tokio::test]
async fn a_long_ledger_stays_small() {
    let store = Store::memory();
    load(&table(&store), 1..=70).await;
    assert_eq!(epochs(&store).await, (1..=70).collect::<Vec<_>>());
    let [loads, _] = super::super::ledger::tables(&table(&store)).expect("valid");
    let held = loads.newest(None, log::Keep::All).await.expect("reads").expect("there");
    assert!(held.files.len() <= 32, "{}", held.files.len());
    assert!(loads.last_checkpoint().await.expect("reads").is_some());
}

#[tokio::test]
async fn rows_say_where_they_were_landed_if_that_is_wanted() {
    let store = Store::memory();
    let owner = table(&store).record_provenance();
    let staged = stage(&owner, 1, 1, rows([1])).await;
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    let [batch] = &owner.read_batches().await.expect("reads")[..] else { panic!("one batch") };
    for name in ["_landfall_segment", "_landfall_record"] {
        assert_eq!(batch.column_by_name(name).expect("there").null_count(), 1, "these rows come from no page");
    }
}

#[tokio::test]
async fn what_follows_a_version_that_was_cleaned_up_before_it_was_entered_is_entered() {
    let store = Store::memory();
    load(&table(&store), 1..=1).await;
    let target = crate::testkit::Target::operation("create").on("_landfall/loads/_delta_log");
    load(&table(&Faults::at(target, Mode::Fail).store(&store)), 2..=3).await;
    assert_eq!(epochs(&store).await, [1], "no entry was written");
    table(&store).checkpoint(&env()).await.expect("writes");
    let path = ObjectPath::parse(&format!("{PREFIX}/_delta_log/{:020}.json", 1)).expect("valid");
    store.delete(&path).await.expect("deletes");
    load(&table(&store), 4..=4).await;
    assert_eq!(epochs(&store).await, [1, 3, 4]);
}

#[tokio::test]
async fn all_rows_of_an_append_are_entered_as_inserted() {
    let store = Store::memory();
    load(&table(&store), 1..=1).await;
    let loads = entries(&store, "loads", "epoch").await;
    assert_eq!((&loads[0]["rows_staged"], &loads[0]["rows_inserted"]), (&2.into(), &2.into()));
}
