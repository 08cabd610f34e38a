use super::*;
use arrow::array::{ArrayRef, Float64Array};

/// Rows of id, version, text; and whether they are deleted.
fn versions(given: &[(i64, i64, &str, bool)]) -> RecordBatch {
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
async fn texts(store: &Store) -> Vec<(i64, String)> {
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
async fn l01_one_row_of_a_key_also_of_those_that_come_together() {
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
async fn l02_deletes_follow_the_newest_row_and_insert_only_changes_nothing() {
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
