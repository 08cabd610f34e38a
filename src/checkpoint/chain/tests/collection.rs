//! Rule 4: the boundary before the first deletion, never past the newest data record. Rule 6: only collection deletes.

use super::*;

#[tokio::test]
async fn rule_4_the_boundary_moves_before_the_first_deletion_and_the_oldest_goes_first() {
    let bench = Bench::new();
    bench.filled(5).await;
    let store = bench.view();
    let chain = bench.open_on(&store).await.expect("opens").chain;
    store.take_log();
    assert_eq!(chain.collect(3).await.expect("collects"), 3);
    assert_eq!(store.changes(), [(Op::Advance, 3), (Op::Remove, 1), (Op::Remove, 2), (Op::Remove, 3)]);
    assert_eq!(chain.collect(3).await.expect("again"), 0);
    assert_eq!(chain.collect(2).await.expect("never back"), 0);
    assert_eq!(store.take_log(), [(Op::Boundary, 0); 2], "nothing is listed again, nothing deleted twice");
    assert_eq!(bench.boundary().await, 3);
}

#[tokio::test]
async fn rule_4_a_crash_at_any_point_of_collection_is_made_good_by_the_next() {
    for calls in 0.. {
        let bench = Bench::new();
        let store = bench.view();
        bench.filled(6).await;
        let chain = bench.open_on(&store).await.expect("opens").chain;
        store.take_log();
        store.crash_after(Some(calls));
        let crashed = chain.collect(4).await;
        // Whatever was deleted lies at or below a boundary that was there before.
        let boundary = bench.boundary().await;
        let left = bench.numbers().await;
        assert!(
            (boundary + 1..=7).all(|n| left.contains(&n)),
            "after {calls} calls: boundary {boundary}, left {left:?}"
        );

        let opened = bench.open().await;
        assert_eq!(opened.newest_data.map(|r| r.number), Some(6), "after {calls} calls");
        opened.chain.collect(4).await.expect("collects");
        assert_eq!(bench.numbers().await, [5, 6, 7, 8], "after {calls} calls");
        if crashed.is_ok() {
            assert!(calls > 5, "every deletion was a call");
            return;
        }
    }
}

#[tokio::test]
async fn a_failed_collection_is_finished_by_the_same_owner() {
    let bench = Bench::new();
    let store = bench.view();
    bench.filled(6).await;
    let chain = bench.open_on(&store).await.expect("opens").chain;
    chain.collect(1).await.expect("collects");
    store.plan(Op::Remove, [Fault::Pass, Fault::Denied]);
    assert_eq!(chain.collect(4).await.expect_err("denied").kind(), ErrorKind::Auth);
    assert_eq!(chain.collect(4).await.expect("goes on"), 2);
    assert_eq!(bench.numbers().await, [5, 6, 7]);
}

#[tokio::test]
async fn collection_bears_lost_answers() {
    let bench = Bench::new();
    let store = bench.view();
    bench.filled(6).await;
    let chain = bench.open_on(&store).await.expect("opens").chain;
    for op in [Op::Advance, Op::Remove, Op::Boundary, Op::Numbers] {
        store.plan(op, [Fault::AnswerLost, Fault::RequestLost, Fault::Busy]);
    }
    assert_eq!(chain.collect(4).await.expect("collects"), 4);
    assert_eq!((bench.numbers().await, bench.boundary().await), (vec![5, 6, 7], 4));
}

#[tokio::test]
async fn rule_4_collection_never_passes_the_newest_data_record_under_stacked_fences() {
    let bench = Bench::new();
    bench.filled(3).await;
    for _ in 0..5 {
        bench.open().await;
    }
    let opened = bench.open().await;
    opened.chain.collect(u64::MAX).await.expect("collects");
    assert_eq!((bench.boundary().await, bench.numbers().await), (2, (3..=9).collect()));
    assert_eq!(bench.open().await.newest_data.map(|r| r.payload), Some(payload(3)));
}

#[tokio::test]
async fn rule_4_a_chain_without_data_is_not_collected() {
    let bench = Bench::new();
    bench.open().await;
    assert_eq!(bench.open().await.chain.collect(u64::MAX).await.expect("nothing to do"), 0);
    assert_eq!((bench.boundary().await, bench.numbers().await), (0, vec![1, 2]));
}

#[tokio::test]
async fn rule_6_no_failure_of_open_or_append_deletes() {
    for calls in 0.. {
        let bench = Bench::new();
        bench.filled(3).await.collect(1).await.expect("collects");
        let store = bench.view();
        store.crash_after(Some(calls));
        let done = async {
            let mut chain = bench.open_on(&store).await?.chain;
            chain.append(payload(5)).await
        }
        .await;
        assert!(!store.take_log().iter().any(|(op, _)| matches!(op, Op::Remove | Op::Advance)), "after {calls} calls");
        assert!(bench.numbers().await.starts_with(&[2, 3]));
        bench.open().await.chain.append(payload(6)).await.expect("recovers");
        if done.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn a_reader_that_is_overtaken_by_collection_looks_again() {
    // Paused before it reads the head, the one before the head, and the one that is not there yet.
    for reads in 0..3 {
        let bench = Bench::new();
        let mut owner = bench.filled(4).await;
        let slow = bench.view();
        let go = Arc::new(Notify::new());
        slow.plan(Op::Read, vec![Fault::Pass; reads]);
        slow.plan(Op::Read, [Fault::Held(Arc::clone(&go))]);
        let reader = ChainReader::new(Arc::new(slow), bench.id.clone());
        let mut reading = Box::pin(reader.newest());
        start(&mut reading);
        for number in 5..=7 {
            owner.append(payload(number)).await.expect("owns it");
        }
        owner.collect(6).await.expect("collects");
        go.notify_one();
        assert_eq!(reading.await.expect("no damage").map(|r| r.number), Some(7), "after {reads} reads");
    }
}
