use super::*;
use crate::sink::{Demand, Enumeration, Replace, ReplacePartitions};

/// One run: epochs of an enumeration, and the one that makes it whole if `whole`.
pub(super) async fn enumerate(table: &DeltaTable, number: u64, epochs: &[RecordBatch], whole: bool) -> Result<()> {
    let mut previous = table.mark(&shard()).await?.map(|m| m.epoch);
    let batches = epochs.iter().map(Some).chain(whole.then_some(None));
    for batch in batches {
        let epoch = previous.unwrap_or(0) + 1;
        let enumeration = Some(Enumeration { whole: batch.is_none(), ..Enumeration::begun(number) });
        let context = EpochContext { enumeration, must_commit: batch.is_none(), ..context(1, epoch) };
        let (staged, _) = try_stage(table, context, batch.cloned().into_iter().collect()).await?;
        let request = CommitRequest { enumeration, ..request(1, epoch, previous, &staged) };
        assert_eq!(table.commit(&env(), request.clone()).await?, CommitOutcome::Done);
        assert_eq!(table.commit(&env(), request).await?, CommitOutcome::AlreadyCommitted);
        previous = Some(epoch);
    }
    Ok(())
}

#[tokio::test]
async fn the_old_rows_stay_until_an_enumeration_is_whole() {
    let store = Store::memory();
    let table = table(&store).disposition(Replace::table().may_shrink_by(0.5));
    assert_eq!(table.demand(), Demand::Enumerations);
    enumerate(&table, 1, &[rows([1, 2]), rows([3])], true).await.expect("replaces");
    assert_eq!(ids(&store).await, [1, 2, 3]);
    // One that fails, and the next one: what the first had brought is forgotten.
    enumerate(&table, 2, &[rows([7]), rows([8])], false).await.expect("waits");
    assert_eq!(ids(&store).await, [1, 2, 3]);
    table.collect(&shard(), 9, &[]).await.expect("collects");
    enumerate(&table, 3, &[rows([4]), rows([5, 6])], true).await.expect("replaces");
    assert_eq!(ids(&store).await, [4, 5, 6]);
}

#[tokio::test]
async fn what_waits_is_not_collected_and_what_is_forgotten_is() {
    let store = Store::memory();
    let table = table(&store).disposition(Replace::table());
    enumerate(&table, 1, &[rows([1])], false).await.expect("waits");
    assert_eq!(table.collect(&shard(), 9, &[]).await.expect("collects"), 0);
    enumerate(&table, 2, &[rows([2])], false).await.expect("waits");
    assert_eq!(table.collect(&shard(), 9, &[]).await.expect("collects"), 1);
    enumerate(&table, 2, &[rows([3])], true).await.expect("replaces");
    assert_eq!(ids(&store).await, [2, 3]);
}

#[tokio::test]
async fn a_table_that_would_lose_too_much_stays_as_it_is() {
    let store = Store::memory();
    let table = table(&store).disposition(Replace::table());
    enumerate(&table, 1, &[rows(1..=10)], true).await.expect("replaces");
    for epochs in [vec![], vec![rows([1, 2, 3, 4])]] {
        let error = enumerate(&table, 2, &epochs, true).await.expect_err("would lose more than half");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(ids(&store).await, (1..=10).collect::<Vec<_>>());
    }
    enumerate(&table, 3, &[rows([1, 2, 3]), rows([4, 5])], true).await.expect("half is allowed");
    assert_eq!(ids(&store).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_key_collapses_what_an_enumeration_gives_twice() {
    let store = Store::memory();
    let table = table(&store).partition_by(["country"]).expect("valid").disposition(Replace::table().key(["id"]));
    enumerate(&table, 1, &[rows([1, 2, 1]), rows([2, 3])], true).await.expect("replaces");
    assert_eq!(ids(&store).await, [1, 2, 3]);
}

/// Of an epoch that was opened before the one before it was committed, and knew no column of it.
#[tokio::test]
async fn files_that_are_narrower_than_the_table_are_written_again() {
    let store = Store::memory();
    let table = table(&store).disposition(Replace::table());
    let narrow = RecordBatch::try_from_iter([("id", Arc::new(arrow::array::Int32Array::from(vec![3])) as _)]);
    let enumeration = |whole| Some(Enumeration { whole, ..Enumeration::begun(1) });
    let opened =
        |epoch, whole| EpochContext { enumeration: enumeration(whole), must_commit: whole, ..context(1, epoch) };
    let wide = rows([1, 2]).project(&[0]).expect("fits");
    let (first, _) = try_stage(&table, opened(1, false), vec![wide]).await.expect("stages");
    let (second, _) = try_stage(&table, opened(2, false), vec![narrow.expect("fits")]).await.expect("stages");
    let (last, _) = try_stage(&table, opened(3, true), Vec::new()).await.expect("stages");
    for (epoch, staged) in [(1, first), (2, second), (3, last)] {
        let request = CommitRequest {
            enumeration: enumeration(epoch == 3),
            ..request(1, epoch, (epoch > 1).then(|| epoch - 1), &staged)
        };
        assert_eq!(table.commit(&env(), request).await.expect("commits"), CommitOutcome::Done);
    }
    let types: Vec<_> = batches(&store).await.iter().map(|b| b.schema().field(0).data_type().clone()).collect();
    assert!(types.iter().all(|t| *t == arrow::datatypes::DataType::Int64), "{types:?}");
    assert_eq!(ids(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn partitions_are_replaced_that_were_given() {
    let store = Store::memory();
    let table = table(&store).partition_by(["country"]).expect("valid").disposition(ReplacePartitions::by(["country"]));
    table.config().expect("known");
    enumerate(&table, 1, &[rows([1, 11, 2, 3])], true).await.expect("replaces");
    enumerate(&table, 2, &[rows([21]), rows([33, 43])], true).await.expect("replaces");
    assert_eq!(ids(&store).await, [2, 21, 33, 43]);
    let other = super::table(&store).disposition(ReplacePartitions::by(["country"]));
    assert_eq!(other.config().expect_err("not partitioned by it").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_crash_at_every_operation_of_the_swap_shows_the_old_rows_or_the_new_ones() {
    for mode in [Mode::Before, Mode::AfterLostResponse, Mode::LostResponse] {
        for at in 0.. {
            let store = Store::memory();
            let open = |store: &Store| table(store).disposition(Replace::table().key(["id"]));
            enumerate(&open(&store), 1, &[rows([1, 2])], true).await.expect("replaces");
            enumerate(&open(&store), 2, &[rows([3]), rows([3, 4])], false).await.expect("waits");
            let enumeration = Some(Enumeration { whole: true, ..Enumeration::begun(2) });
            let context = EpochContext { enumeration, must_commit: true, ..context(1, 5) };
            let (staged, _) = try_stage(&open(&store), context, Vec::new()).await.expect("stages");
            let request = CommitRequest { enumeration, ..request(1, 5, Some(4), &staged) };
            let faults = Faults::of([Plan { at, mode }]);
            let ended = open(&faults.store(&store)).commit(&env(), request.clone()).await.is_ok();
            let seen = ids(&store).await;
            assert!(seen == [1, 2] || seen == [3, 4], "{mode:?} at {at}: {seen:?}");
            open(&store).commit(&env(), request).await.expect("recovers");
            assert_eq!(ids(&store).await, [3, 4], "{mode:?} at {at}");
            if ended && faults.count() <= at {
                assert!(at > 8, "a swap took {at} operations");
                break;
            }
        }
    }
}
