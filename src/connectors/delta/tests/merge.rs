use super::*;
use crate::testkit::Target;
use arrow::array::{ArrayRef, Float64Array};

/// Rows of id, version, text; and whether they are deleted.
pub(super) fn versions(given: &[(i64, i64, &str, bool)]) -> RecordBatch {
    let texts = StringArray::from_iter_values(given.iter().map(|r| r.2));
    let deleted: BooleanArray = given.iter().map(|r| Some(r.3)).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(given.iter().map(|r| r.0))) as _),
        ("at", Arc::new(Int64Array::from_iter_values(given.iter().map(|r| r.1))) as _),
        ("text", Arc::new(texts) as _),
        ("gone", Arc::new(deleted) as _),
    ])
    .expect("fits")
}

/// The texts by id.
pub(super) async fn texts(store: &Store) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    for batch in batches(store).await {
        let ids = batch.column_by_name("id").expect("there").as_primitive::<Int64Type>().clone();
        let texts = batch.column_by_name("text").expect("there").as_string::<i32>().clone();
        all.extend(ids.iter().flatten().zip(texts.iter().flatten().map(str::to_owned)));
    }
    all.sort();
    all
}

/// Loads epochs one after the other.
async fn load(store: &Store, disposition: impl Into<Disposition>, epochs: &[RecordBatch]) -> Vec<(i64, String)> {
    let table = table(store).disposition(disposition);
    table.config().expect("known");
    let mut previous = table.mark(&shard()).await.expect("reads").map(|m| m.epoch);
    for batch in epochs {
        let epoch = previous.unwrap_or(0) + 1;
        let staged = stage(&table, 1, epoch, batch.clone()).await;
        assert_eq!(commit(&table, 1, epoch, previous, &staged).await.expect("commits"), CommitOutcome::Done);
        previous = Some(epoch);
    }
    texts(store).await
}

fn pairs(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(id, text)| (*id, (*text).to_owned())).collect()
}

#[tokio::test]
async fn one_row_of_a_key_also_of_those_that_come_together() {
    let first = versions(&[(1, 1, "a", false), (2, 1, "b", false), (1, 1, "c", false)]);
    let second = versions(&[(2, 0, "d", false), (3, 0, "e", false)]);
    let seen = load(&Store::memory(), Upsert::by(["id"]), &[first, second]).await;
    assert_eq!(seen, pairs(&[(1, "c"), (2, "d"), (3, "e")]));
}

#[tokio::test]
async fn the_newest_row_stays_wherever_the_epochs_are_cut() {
    let given = [(1, 5, "new"), (1, 3, "old"), (2, 1, "x"), (1, 5, "same age, later"), (2, 0, "older"), (3, 9, "z")];
    let given: Vec<_> = given.into_iter().map(|(id, at, text)| (id, at, text, false)).collect();
    for cut in 1..given.len() {
        let epochs = [versions(&given[..cut]), versions(&given[cut..])];
        let seen = load(&Store::memory(), Upsert::by(["id"]).newest("at"), &epochs).await;
        assert_eq!(seen, pairs(&[(1, "same age, later"), (2, "x"), (3, "z")]), "cut at {cut}");
    }
}

#[tokio::test]
async fn deletes_follow_the_newest_row_and_insert_only_changes_nothing() {
    let upsert = || Upsert::by(["id"]).newest("at").deleted_when("gone");
    let begun = versions(&[(1, 1, "a", false), (2, 1, "b", false), (3, 1, "c", false)]);
    let store = Store::memory();
    load(&store, upsert(), std::slice::from_ref(&begun)).await;
    let next = versions(&[
        (1, 2, "", true),       // deleted
        (2, 3, "again", false), // deleted and inserted anew
        (2, 2, "", true),
        (3, 0, "", true), // an old delete
        (4, 1, "", true), // never there
    ]);
    assert_eq!(load(&store, upsert(), &[next]).await, pairs(&[(2, "again"), (3, "c")]));

    let store = Store::memory();
    let more = versions(&[(3, 9, "x", false), (4, 1, "d", false), (4, 2, "e", false)]);
    let seen = load(&store, InsertOnly::by(["id"]), &[begun, more]).await;
    assert_eq!(seen, pairs(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")]));
}

/// What a merge holds in memory is bounded before the epoch is prepared: it cannot be cut within a response.
#[tokio::test]
async fn an_epoch_of_more_rows_than_can_be_merged_is_refused_before_it_is_prepared() {
    let keyed: [Disposition; 4] = [
        Upsert::by(["id"]).into(),
        InsertOnly::by(["id"]).into(),
        crate::sink::Scd2::by(["id"]).into(),
        crate::sink::Children::of(["country"]).index("id").into(),
    ];
    for disposition in keyed {
        let store = Store::memory();
        let mut writer = table(&store).disposition(disposition).open(context(1, 1)).await.expect("opens");
        assert_eq!(writer.most_rows, 1 << 20);
        writer.most_rows = 10;
        writer.write(Batch::new(rows(0..11))).await.expect("writes");
        assert_eq!(writer.staged_bytes(), u64::MAX, "it is to be cut where it can be");
        writer.write(Batch::new(rows(11..40))).await.expect("a response goes on");
        let error = writer.write(Batch::new(rows([40]))).await.expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("limit=`40`") && error.hint().is_some(), "{error}");
    }
    let appends = table(&Store::memory()).open(context(1, 1)).await.expect("opens");
    assert_eq!(appends.most_rows, u64::MAX);
}

#[tokio::test]
async fn what_goes_into_the_table_is_written_once_however_often_others_commit_meanwhile() {
    let store = Store::memory();
    let begun = versions(&[(1, 1, "a", false), (2, 9, "b", false)]);
    load(&store, Upsert::by(["id"]).newest("at"), &[begun]).await;
    // Of the epoch a row loses, so that what was staged is not what goes in.
    let upsert = || Upsert::by(["id"]).newest("at");
    let target = Target::operation("create").on(format!("{:020}.json", 1)).times(5);
    let faults = Faults::at(target, Mode::Conflict);
    let owner = table(&faults.store(&store)).disposition(upsert());
    let staged = stage(&owner, 1, 2, versions(&[(1, 2, "A", false), (2, 2, "B", false), (3, 1, "C", false)])).await;
    let before = faults.count();
    assert_eq!(commit(&owner, 1, 2, Some(1), &staged).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(texts(&store).await, pairs(&[(1, "A"), (2, "b"), (3, "C")]));
    let written: Vec<_> = faults.trace().into_iter().filter(|p| p.index >= before && p.operation == "upload").collect();
    let in_table: Vec<_> = written.iter().filter(|point| !point.name.contains("_landfall/")).collect();
    assert_eq!(in_table.len(), 2, "the file that loses a row, and what comes: {in_table:?}");
}

#[tokio::test]
async fn only_files_with_a_hit_are_written_again() {
    let store = Store::memory();
    let epochs: Vec<_> = (0..4).map(|n| versions(&[(n * 10, 1, "a", false), (n * 10 + 5, 1, "b", false)])).collect();
    load(&store, Upsert::by(["id"]), &epochs).await;
    let before: Vec<_> = files(&store).await.into_iter().map(|f| f.path).collect();
    assert_eq!(before.len(), 4);
    // 12 is in the range of the second file, and in none.
    load(&store, Upsert::by(["id"]), &[versions(&[(12, 1, "n", false), (25, 1, "n", false)])]).await;
    let after: Vec<_> = files(&store).await.into_iter().map(|f| f.path).collect();
    let kept = before.iter().filter(|path| after.contains(path)).count();
    assert_eq!((kept, after.len()), (3, 5));
}

#[tokio::test]
async fn a_row_moves_from_one_partition_to_another() {
    let store = Store::memory();
    let table = table(&store).partition_by(["text"]).expect("valid").disposition(Upsert::by(["id"]).newest("at"));
    for (epoch, text) in [(1, "x"), (2, "y")] {
        let staged =
            stage(&table, 1, epoch, versions(&[(1, epoch as i64, text, false), (epoch as i64 + 1, 0, "z", false)]))
                .await;
        commit(&table, 1, epoch, (epoch > 1).then_some(1), &staged).await.expect("commits");
    }
    let mut seen: Vec<_> = files(&store).await.into_iter().map(|f| f.partition_values["text"].clone()).collect();
    seen.sort();
    assert_eq!(seen, [Some("y".to_owned()), Some("z".to_owned()), Some("z".to_owned())]);
    assert_eq!(ids(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_row_without_a_key_goes_to_the_quarantine() {
    let store = Store::memory();
    let table = table(&store).upsert(["id"]);
    let batch =
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![Some(1), None])) as _)]).expect("fits");
    let (staged, rejects) = try_stage(&table, context(1, 1), vec![batch]).await.expect("stages");
    assert_eq!((staged.files[0].rows, rejects.len(), rejects[0].code), (1, 1, "null_key"));
}

#[tokio::test]
async fn a_table_that_only_grows_is_refused_before_anything_is_staged() {
    let store = Store::memory();
    load(&store, Disposition::Append, &[versions(&[(1, 1, "a", false)])]).await;
    let log = table(&store).log;
    let held = log.newest(None, log::Keep::Head).await.expect("reads").expect("there");
    let mut metadata = held.metadata.clone();
    metadata.configuration.insert("delta.appendOnly".into(), Some("true".into()));
    log.create(&env(), held.version + 1, vec![metadata.into()]).await.expect("creates");
    let error = table(&store).upsert(["id"]).open(context(1, 2)).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    table(&store).open(context(1, 2)).await.expect("appends are welcome");
}

#[tokio::test]
async fn keys_are_equal_as_sql_has_it() {
    let rows = |first: i64, keys: [f64; 3]| {
        RecordBatch::try_from_iter([
            ("key", Arc::new(Float64Array::from(keys.to_vec())) as ArrayRef),
            ("id", Arc::new(Int64Array::from_iter_values(first..first + 3)) as _),
            ("text", Arc::new(StringArray::from(vec!["zero", "no number", "one"])) as _),
        ])
        .expect("fits")
    };
    let epochs = [rows(10, [0.0, f64::NAN, 1.0]), rows(20, [-0.0, -f64::NAN, -1.0])];
    let seen = load(&Store::memory(), Upsert::by(["key"]), &epochs).await;
    assert_eq!(seen, pairs(&[(12, "one"), (20, "zero"), (21, "no number"), (22, "one")]));
}

/// Where databases leave such a column as it was: docs/warehouses.md says both.
#[tokio::test]
async fn a_row_is_written_whole_and_null_where_its_epoch_has_no_column() {
    let store = Store::memory();
    let owner = table(&store).upsert(["id"]);
    let staged = stage(&owner, 1, 1, rows([1, 2])).await;
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    let staged = stage(&owner, 1, 2, rows([2]).project(&[0]).expect("fits")).await;
    commit(&owner, 1, 2, Some(1), &staged).await.expect("commits");
    let mut seen = Vec::new();
    for batch in owner.read_batches().await.expect("reads") {
        let ids = batch.column_by_name("id").expect("there").as_primitive::<Int64Type>().clone();
        let countries = batch.column_by_name("country").expect("there").as_string::<i32>().clone();
        seen.extend(ids.values().iter().zip(&countries).map(|(id, country)| (*id, country.map(str::to_owned))));
    }
    seen.sort();
    assert_eq!(seen, [(1, Some("c1".to_owned())), (2, None)]);
}
