//! Rule 3: fencing is in the data path. Rule 4: collection cannot un-fence.

use super::*;

#[tokio::test]
async fn a_new_chain_begins_with_a_fence_and_a_new_life() {
    let bench = Bench::new();
    let opened = bench.open().await;
    assert_eq!((opened.chain.generation(), opened.chain.next_number()), (1, 2));
    assert_eq!(opened.newest_data, None);
    let first = bench.record(1).await;
    assert_eq!((first.kind, first.parent.clone(), first.generation), (RecordKind::Fence, None, 1));
    assert_eq!(&first.incarnation, opened.chain.incarnation());
    let other = Chain::open(Arc::new(bench.inner.clone()), ChainId::named("other").expect("a name"), bench.env.clone());
    assert_ne!(other.await.expect("opens").chain.incarnation(), opened.chain.incarnation());
}

#[tokio::test]
async fn a_take_over_keeps_the_life_and_carries_the_newest_data_record_over_any_number_of_fences() {
    let bench = Bench::new();
    let incarnation = bench.filled(3).await.incarnation().clone();
    for round in 1..=4 {
        let opened = bench.open().await;
        assert_eq!((opened.chain.generation(), opened.chain.next_number()), (1 + round, 4 + round));
        assert_eq!(opened.chain.incarnation(), &incarnation);
        assert_eq!(opened.newest_data.map(|r| (r.number, r.payload)), Some((3, payload(3))));
        let fence = bench.record(3 + round).await;
        assert_eq!((fence.kind, fence.newest_data), (RecordKind::Fence, Some(3)));
        let before = bench.raw(2 + round).await.expect("is there");
        assert_eq!(fence.parent, Some(Record::digest(&before)));
    }
}

#[tokio::test]
async fn rule_3_a_fence_shuts_the_old_owner_out_at_its_next_append() {
    let bench = Bench::new();
    let mut old = bench.filled(3).await;
    let mut new = bench.open().await.chain;
    assert_eq!(new.append(payload(5)).await.expect("owns it"), 5);
    for _ in 0..2 {
        assert_eq!(old.append(payload(4)).await.expect_err("fenced").kind(), ErrorKind::Fenced);
    }
    assert_eq!(old.collect(9).await.expect_err("fenced").kind(), ErrorKind::Fenced);
    assert_eq!(new.append(payload(6)).await.expect("owns it still"), 6);
}

#[tokio::test]
async fn damage_that_a_take_over_explains_is_no_damage() {
    let bench = Bench::new();
    let old = bench.filled(3).await;
    let damage = || Error::corrupt("read segment", "it is gone");
    assert_eq!(old.explain(damage()).await.kind(), ErrorKind::Corrupt, "nobody has taken over");
    let mut new = bench.open().await.chain;
    assert_eq!(old.explain(damage()).await.kind(), ErrorKind::Fenced);
    let other = Error::unavailable("read segment", "no route");
    assert_eq!(old.explain(other).await.kind(), ErrorKind::Unavailable);
    for number in 5..9 {
        new.append(payload(number)).await.expect("owns it");
    }
    new.collect(7).await.expect("owns it");
    assert_eq!(old.explain(damage()).await.kind(), ErrorKind::Fenced, "nor if the fence was collected");
    let store = bench.view();
    let blind = bench.open_on(&store).await.expect("opens").chain;
    store.plan(Op::Read, [Fault::Denied]);
    assert_eq!(blind.explain(damage()).await.kind(), ErrorKind::Corrupt, "nobody can say who owns the chain");
}

#[tokio::test]
async fn rule_3_an_older_owner_that_was_quicker_is_stepped_over_with_its_data() {
    let bench = Bench::new();
    let mut old = bench.filled(3).await;
    let slow = bench.view();
    let go = Arc::new(Notify::new());
    slow.plan(Op::Create, [Fault::Held(Arc::clone(&go))]);
    let mut opening = Box::pin(bench.open_on(&slow));
    start(&mut opening);
    old.append(payload(4)).await.expect("still owns it");
    old.append(payload(5)).await.expect("still owns it");
    go.notify_one();
    let mut opened = opening.await.expect("opens");
    assert_eq!(opened.newest_data.map(|r| r.number), Some(5));
    assert_eq!(opened.chain.next_number(), 7);
    assert_eq!(old.append(payload(6)).await.expect_err("fenced").kind(), ErrorKind::Fenced);
    opened.chain.append(payload(7)).await.expect("owns it");
    assert_eq!(bench.open().await.newest_data.map(|r| r.number), Some(7), "the whole chain is sound");
}

#[tokio::test]
async fn rule_3_of_two_that_open_at_the_same_time_one_is_fenced() {
    for filled in [0, 3] {
        let bench = Bench::new();
        if filled > 0 {
            bench.filled(filled).await;
        }
        let slow = bench.view();
        let go = Arc::new(Notify::new());
        slow.plan(Op::Create, [Fault::Held(Arc::clone(&go))]);
        let mut opening = Box::pin(bench.open_on(&slow));
        start(&mut opening);
        let mut first = bench.open().await.chain;
        go.notify_one();
        let error = opening.await.expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        first.append(payload(1)).await.expect("owns it");
    }
}

/// Opens, appends 2 and 3, and then is paused in the create of 4 while others take over and collect that number.
#[tokio::test]
async fn rule_4_a_zombie_whose_create_lands_on_a_collected_number_is_refused() {
    for first_try_lost in [false, true] {
        let bench = Bench::new();
        let store = bench.view();
        let mut zombie = bench.open_on(&store).await.expect("opens").chain;
        for number in [2, 3] {
            zombie.append(payload(number)).await.expect("owns it");
        }
        let go = Arc::new(Notify::new());
        if first_try_lost {
            store.plan(Op::Create, [Fault::RequestLost]);
        }
        store.plan(Op::Create, [Fault::Held(Arc::clone(&go))]);
        let mut appending = Box::pin(zombie.append(payload(4)));
        for _ in 0..3 {
            start(&mut appending);
        }
        let mut new = bench.open().await.chain;
        new.append(payload(5)).await.expect("owns it");
        assert_eq!(new.collect(4).await.expect("collects"), 4);
        assert_eq!(bench.numbers().await, [5]);
        go.notify_one();
        let error = appending.await.expect_err("its place is gone");
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert!(error.to_string().contains("boundary=`4`"), "{error}");
        assert_eq!(bench.numbers().await, [4, 5], "the leftover is there, and counts for nobody");

        assert_eq!(bench.reader().read(4).await.expect_err("collected").kind(), ErrorKind::Corrupt);
        let opened = bench.open().await;
        assert_eq!(opened.newest_data.map(|r| r.number), Some(5));
        assert_eq!(opened.chain.collect(4).await.expect("sweeps"), 1);
        assert_eq!(bench.numbers().await, [5, 6]);
    }
}

#[tokio::test]
async fn rule_4_a_fence_that_lands_on_a_collected_number_does_not_count() {
    let bench = Bench::new();
    let mut owner = bench.filled(3).await;
    let slow = bench.view();
    let go = Arc::new(Notify::new());
    slow.plan(Op::Create, [Fault::Held(Arc::clone(&go))]);
    let mut opening = Box::pin(bench.open_on(&slow));
    start(&mut opening);
    for number in 4..=6 {
        owner.append(payload(number)).await.expect("owns it");
    }
    owner.collect(5).await.expect("collects");
    go.notify_one();
    assert_eq!(opening.await.expect_err("its place is gone").kind(), ErrorKind::Fenced);
    assert_eq!(owner.append(payload(7)).await.expect("owns it still"), 7);
}

#[tokio::test]
async fn rule_4_a_leftover_on_a_collected_number_is_not_stepped_over() {
    let bench = Bench::new();
    let store = bench.view();
    let mut zombie = bench.open_on(&store).await.expect("opens").chain;
    for number in [2, 3] {
        zombie.append(payload(number)).await.expect("owns it");
    }
    let (late, slow) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    store.plan(Op::Create, [Fault::Held(Arc::clone(&late))]);
    let mut appending = Box::pin(zombie.append(payload(4)));
    start(&mut appending);
    let opener = bench.view();
    opener.plan(Op::Create, [Fault::Held(Arc::clone(&slow))]);
    let mut opening = Box::pin(bench.open_on(&opener));
    start(&mut opening);

    let mut owner = bench.open().await.chain;
    for number in [5, 6] {
        owner.append(payload(number)).await.expect("owns it");
    }
    owner.collect(4).await.expect("collects");
    late.notify_one();
    appending.await.expect_err("its place is gone");
    assert_eq!(bench.numbers().await, [4, 5, 6]);
    slow.notify_one();
    let error = opening.await.expect_err("the chain went on");
    assert_eq!(error.kind(), ErrorKind::Fenced, "no damage: {error}");
}

#[tokio::test]
async fn rule_4_a_record_whose_boundary_cannot_be_read_is_in_doubt() {
    let bench = Bench::new();
    let store = bench.view();
    let mut chain = bench.open_on(&store).await.expect("opens").chain;
    store.plan(Op::Boundary, vec![Fault::Busy; 8]);
    assert_eq!(chain.append(payload(2)).await.expect_err("in doubt").kind(), ErrorKind::Ambiguous);
}
