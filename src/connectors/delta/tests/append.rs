use super::*;
use arrow::array::ArrayRef;

#[tokio::test]
async fn an_epoch_is_seen_with_its_commit_and_once() {
    let store = Store::memory();
    let owner = table(&store).partition_by(["country"]).expect("valid");
    let first = stage(&owner, 1, 1, rows([1, 2])).await;
    assert_eq!(ids(&store).await, Vec::<i64>::new());
    assert_eq!(owner.mark(&shard()).await.expect("reads"), None);
    assert_eq!(commit(&owner, 1, 1, None, &first).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(commit(&owner, 1, 1, None, &first).await.expect("answers"), CommitOutcome::AlreadyCommitted);
    let second = stage(&owner, 1, 3, rows([3])).await;
    assert_eq!(commit(&owner, 1, 3, Some(1), &second).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(ids(&store).await, [1, 2, 3]);
    let mark = table(&store).mark(&shard()).await.expect("reads").expect("is there");
    assert_eq!(mark, request(1, 3, Some(1), &second).mark);
}

#[tokio::test]
async fn a_commit_answers_by_the_mark() {
    let store = Store::memory();
    let owner = table(&store);
    let first = stage(&owner, 2, 1, rows([1])).await;
    commit(&owner, 2, 1, None, &first).await.expect("commits");
    let other = stage(&owner, 2, 2, rows([2])).await;
    assert!(matches!(commit(&owner, 2, 1, None, &other).await, Ok(CommitOutcome::Fork { .. })));
    assert!(matches!(commit(&owner, 2, 3, Some(2), &other).await, Ok(CommitOutcome::Gap { .. })));
    assert_eq!(commit(&owner, 1, 2, Some(1), &other).await.expect("answers"), CommitOutcome::Fenced { generation: 2 });
    assert_eq!(ids(&store).await, [1]);
}

#[test]
fn the_name_of_a_file_says_what_it_was_written_for() {
    use super::super::staged::Names;
    use crate::columnar::files::FileNames;
    use crate::columnar::files::partition::Partitioning;
    let key = ShardKey { pipeline: PipelineName::new("a-1-g2-b").expect("valid"), shard: 7 };
    let context = EpochContext { shard: key.clone(), attempt: 3, ..context(12, 34) };
    let by = Partitioning::new(&rows([1]).schema(), &["country".to_owned()]).expect("fits");
    let mark = Mark { incarnation: Incarnation("x".into()), generation: 12, epoch: 34, digest: String::new() };
    for names in [Names::staged(&context), Names::rewritten(&key, &mark, &env())] {
        let path = names.staged(&by, &vec![Some("a b".to_owned())], 5).expect("fits");
        let (folder, name) = path.split_once('/').expect("a folder");
        assert_eq!((folder, Names::parse(name)), ("country=a%20b", Some((key.clone(), 12, 34))));
    }
    for other in ["part-00000-c000.snappy.parquet", "compacted-0f-0000.parquet", "landfall-x.parquet"] {
        assert_eq!(Names::parse(other), None);
    }
}

#[tokio::test]
async fn a_value_that_cannot_name_a_partition_goes_to_the_quarantine() {
    let store = Store::memory();
    let owner = table(&store).partition_by(["country"]).expect("valid");
    let long = "x".repeat(300);
    let texts = StringArray::from(vec![Some(""), Some("a"), None, Some(long.as_str())]);
    let columns = [("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as _), ("country", Arc::new(texts) as _)];
    let batch = RecordBatch::try_from_iter(columns).expect("fits");
    let (staged, rejects) = try_stage(&owner, context(1, 1), vec![batch]).await.expect("stages");
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["partition"; 2]);
    commit(&owner, 1, 1, None, &staged).await.expect("commits");
    assert_eq!(ids(&store).await, [2, 3]);
}

#[tokio::test]
async fn an_epoch_that_must_be_committed_is_one_without_rows_too() {
    let store = Store::memory();
    let owner = table(&store).partition_by(["country"]).expect("valid");
    assert_eq!(owner.open(context(1, 1)).await.expect("opens").finish().await.expect("finishes"), None);
    let mut previous = None;
    // A batch without rows tells the columns.
    for (epoch, batch) in (1..).zip([rows([]), rows([1, 2]), rows([])]) {
        let context = EpochContext { must_commit: true, ..context(1, epoch) };
        let (staged, _) = try_stage(&owner, context, vec![batch]).await.expect("stages");
        let outcome = commit(&owner, 1, epoch, previous, &staged).await.expect("commits");
        assert_eq!(outcome, CommitOutcome::Done);
        previous = Some(epoch);
    }
    assert_eq!(owner.mark(&shard()).await.expect("reads").map(|m| m.epoch), Some(3));
    assert_eq!(ids(&store).await, [1, 2]);
}

#[tokio::test]
async fn statistics_are_those_of_their_column_also_behind_a_partition_column() {
    let store = Store::memory();
    let country: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let numbers = |values: [Option<i64>; 2]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("country", country, true),
        ("id", numbers([Some(7), Some(8)]), true),
        ("amount", numbers([Some(100), Some(200)]), true),
        ("none", numbers([None, None]), true),
    ])
    .expect("fits");
    let owner = table(&store).partition_by(["country"]).expect("valid").upsert(["id"]);
    for epoch in [1, 2] {
        let staged = stage(&owner, 1, epoch, batch.clone()).await;
        commit(&owner, 1, epoch, (epoch > 1).then_some(1), &staged).await.expect("commits");
    }
    assert_eq!(ids(&store).await, [7, 8], "the file of a key is found");
    for file in files(&store).await {
        let stats: serde_json::Value = serde_json::from_str(&file.stats.expect("is there")).expect("JSON");
        let (id, amount) = if file.partition_values["country"].as_deref() == Some("x") { (7, 100) } else { (8, 200) };
        for bound in ["minValues", "maxValues"] {
            assert_eq!((&stats[bound]["id"], &stats[bound]["amount"]), (&id.into(), &amount.into()), "{stats}");
        }
        let nulls = &stats["nullCount"];
        assert_eq!((&nulls["id"], &nulls["amount"], &nulls["none"]), (&0.into(), &0.into(), &1.into()), "{stats}");
    }
}

#[tokio::test]
async fn a_staged_file_that_is_gone_or_another_one_is_not_registered_and_put_back_it_is() {
    for (damage, merges) in ["gone", "shorter", "longer", "other"].into_iter().flat_map(|d| [(d, false), (d, true)]) {
        let store = Store::memory();
        let owner = if merges { table(&store).upsert(["id"]) } else { table(&store) };
        let first = stage(&owner, 1, 1, rows([1, 2])).await;
        commit(&owner, 1, 1, None, &first).await.expect("commits");
        let staged = stage(&owner, 1, 2, rows(2..3_000)).await;
        let path = ObjectPath::parse(PREFIX).and_then(|p| p.join(&staged.files[0].path)).expect("valid");
        let bytes = store.get(&path, None).await.expect("reads").expect("is there");
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
        for _ in 0..2 {
            let error = commit(&owner, 1, 2, Some(1), &staged).await.expect_err("must not register it");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
            assert!(error.to_string().contains(path.as_str()) && error.hint().is_some(), "{error}");
            assert_eq!(owner.mark(&shard()).await.expect("reads").map(|m| m.epoch), Some(1), "{damage}");
            assert_eq!(ids(&store).await, [1, 2], "{damage}");
        }
        store.put(&path, bytes).await.expect("puts");
        let mut huge = staged.clone();
        huge.files[0].bytes = u64::MAX;
        let error = commit(&owner, 1, 2, Some(1), &huge).await.expect_err("no file has so many bytes");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(commit(&owner, 1, 2, Some(1), &staged).await.expect("commits"), CommitOutcome::Done);
        let mut expected: Vec<i64> = (1..3_000).collect();
        if !merges {
            expected.insert(1, 2);
        }
        assert_eq!(ids(&store).await, expected, "{damage}");
    }
}

#[tokio::test]
async fn a_partition_whose_name_is_too_long_for_a_store_is_refused_before_anything_is_prepared() {
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(230)]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let by = ["a", "b", "c", "d"];
    let columns = by.map(|name| (name, Arc::clone(&long))).into_iter().chain([("id", id)]);
    let batch = RecordBatch::try_from_iter(columns).expect("fits");
    let owner = table(&Store::memory()).partition_by(by).expect("valid");
    let error = try_stage(&owner, context(1, 1), vec![batch]).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[tokio::test]
async fn a_version_tells_what_was_done_and_when_and_that_its_files_are_new() {
    let store = Store::memory();
    let now = env().now().as_micros() / 1000;
    let staged = stage(&table(&store), 1, 1, rows([1, 2])).await;
    commit(&table(&store), 1, 1, None, &staged).await.expect("commits");
    let merges = table(&store).upsert(["id"]);
    let staged = stage(&merges, 1, 2, rows([2])).await;
    commit(&merges, 1, 2, Some(1), &staged).await.expect("commits");
    let log = table(&store).log;
    for (version, operation) in [(0, "WRITE"), (1, "MERGE")] {
        let lines = log.commit(version).await.expect("reads").expect("there");
        let info = lines.iter().find_map(|line| line.commit_info.as_ref()).expect("it is told");
        assert_eq!(info["operation"], operation);
    }
    let first = log.commit(0).await.expect("reads").expect("there");
    let add = first.iter().find_map(|line| line.add.as_ref()).expect("a file");
    assert_eq!((add.data_change, add.modification_time), (true, now));
    let metadata = first.iter().find_map(|line| line.meta_data.as_ref()).expect("it is new");
    assert_eq!((metadata.id.len(), metadata.created_time), (36, Some(now)));
}

#[tokio::test]
async fn a_version_whose_answer_is_lost_is_looked_for_and_one_that_was_refused_is_in_no_doubt() {
    for (mode, expected) in [
        (Mode::LostResponse, Ok(CommitOutcome::AlreadyCommitted)),
        (Mode::Fail, Err(ErrorKind::Unavailable)),
        (Mode::Refuse(ErrorKind::Auth), Err(ErrorKind::Auth)),
    ] {
        let version = format!("orders/_delta_log/{:020}.json", 0);
        let target = crate::testkit::Target::operation("create").on(version).times(1);
        let owner = table(&Faults::at(target, mode).store(&Store::memory()));
        let staged = stage(&owner, 1, 1, rows([1])).await;
        let outcome = commit(&owner, 1, 1, None, &staged).await.map_err(|error| error.kind());
        assert_eq!(outcome, expected, "{mode:?}");
    }
}

#[tokio::test]
async fn files_narrower_than_the_table_are_written_again_once_however_often_others_commit_meanwhile() {
    let store = Store::memory();
    let version = format!("orders/_delta_log/{:020}.json", 1);
    let target = crate::testkit::Target::operation("create").on(version).times(5);
    let faults = Faults::at(target, Mode::Conflict);
    let owner = table(&faults.store(&store));
    let narrow: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![3]));
    let narrow = RecordBatch::try_from_iter([("id", narrow)]).expect("fits");
    // Both are staged before there is a table.
    let first = stage(&owner, 1, 1, rows([1, 2])).await;
    let other = ShardKey { shard: 1, ..shard() };
    let context = EpochContext { shard: other.clone(), ..context(1, 1) };
    let (second, _) = try_stage(&owner, context, vec![narrow]).await.expect("stages");
    commit(&owner, 1, 1, None, &first).await.expect("commits");
    let before = faults.count();
    let request = CommitRequest { shard: other, ..request(1, 1, None, &second) };
    assert_eq!(owner.commit(&env(), request).await.expect("commits"), CommitOutcome::Done);
    let trace = faults.trace();
    let uploads = trace.iter().filter(|point| point.index >= before && point.operation == "upload");
    assert_eq!(uploads.count(), 1);
    assert_eq!(ids(&store).await, [1, 2, 3]);
}
