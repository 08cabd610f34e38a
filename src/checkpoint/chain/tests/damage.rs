//! Rule 8: damage halts loudly, names the object and the way out, and nothing is written. Hints may be wrong; that is no damage.

use super::*;

/// Opening and looking for the end fail as expected, and change nothing.
async fn halts(bench: &Bench, kind: ErrorKind, number: u64, says: &str) {
    let before = bench.numbers().await;
    let store = bench.view();
    let opened = bench.open_on(&store).await.expect_err("damage");
    assert_eq!(opened.kind(), kind, "{opened}");
    let text = opened.to_string();
    assert!(text.contains(says) && text.contains(&format!("record=`{number}`")), "{text}");
    assert!(text.contains("chain=`orders/checkpoints/0000`") && opened.hint().is_some(), "{text}");
    assert_eq!(store.changes(), [], "{text}");
    assert_eq!(bench.numbers().await, before);
}

#[tokio::test]
async fn rule_8_a_hole_above_the_boundary_halts() {
    for gone in 1..=4 {
        // The whole truth; only the newest; the newest and a number that is too high.
        for hint in [None, Some(vec![5]), Some(vec![5, 9])] {
            let bench = Bench::new();
            bench.filled(5).await;
            bench.remove(gone).await;
            let store = bench.view();
            store.give_hint(hint.clone());
            let error = bench.open_on(&store).await.expect_err("a hole");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{gone} {hint:?}: {error}");
            assert!(error.to_string().contains(&format!("record=`{gone}`")), "{gone} {hint:?}: {error}");
            assert_eq!(store.changes(), [], "{gone} {hint:?}");
        }
    }
}

#[tokio::test]
async fn rule_8_a_hole_that_no_hint_tells_of_halts_at_the_first_append() {
    for gone in 1..=4 {
        let bench = Bench::new();
        bench.filled(5).await;
        bench.remove(gone).await;
        let store = bench.view();
        store.give_hint(Some(vec![]));
        // Nothing says that there is more: the fence fills the hole, and the next number is taken by a stranger.
        let mut chain = bench.open_on(&store).await.expect("no sign of damage").chain;
        let error = chain.append(payload(9)).await.expect_err("a hole");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{gone}: {error}");
    }
}

#[tokio::test]
async fn rule_8_a_hole_is_found_behind_a_hint_that_is_too_high() {
    let bench = Bench::new();
    bench.filled(5).await;
    bench.remove(3).await;
    let store = bench.view();
    store.give_hint(Some(vec![4, 5, 9]));
    let error = bench.open_on(&store).await.expect_err("a hole");
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("record=`3`"), "{error}");
}

#[tokio::test]
async fn rule_8_a_changed_byte_in_what_is_used_halts() {
    for (number, used) in [(5, true), (4, true), (3, false)] {
        let bench = Bench::new();
        bench.filled(5).await;
        let mut bytes = bench.raw(number).await.expect("is there").to_vec();
        bytes[300] ^= 1;
        bench.replace(number, bytes.into()).await;
        if used {
            halts(&bench, ErrorKind::Corrupt, number, "checksum").await;
            assert_eq!(bench.reader().newest().await.expect_err("damage").kind(), ErrorKind::Corrupt);
        }
        assert_eq!(bench.reader().read(number).await.expect_err("damage").kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn rule_8_a_newer_format_asks_for_an_upgrade() {
    let bench = Bench::new();
    bench.filled(3).await;
    let stored = bench.raw(3).await.expect("is there");
    let text = String::from_utf8(stored.to_vec()).expect("text").replacen("landfall-record/1", "landfall-record/2", 1);
    let mut newer = text.as_bytes()[..text.len() - 17].to_vec();
    crate::checkpoint::record::seal(&mut newer);
    bench.replace(3, newer.into()).await;
    halts(&bench, ErrorKind::Config, 3, "upgrade").await;
}

#[tokio::test]
async fn rule_8_a_head_that_does_not_follow_from_the_record_before_halts() {
    let bench = Bench::new();
    bench.filled(4).await;
    // Sound in itself, but written by somebody who saw another record 3.
    let forked = Record { parent: Some(Record::digest(b"another record 3")), ..bench.record(4).await };
    bench.replace(4, forked.encode(&bench.id).expect("encodes")).await;
    halts(&bench, ErrorKind::Corrupt, 4, "parent").await;

    let twin = Record {
        nonce: "twin".to_owned(),
        parent: Some(Record::digest(&bench.raw(3).await.expect("is there"))),
        ..forked
    };
    bench.replace(4, twin.encode(&bench.id).expect("encodes")).await;
    halts(&bench, ErrorKind::Corrupt, 4, "owner").await;
}

#[tokio::test]
async fn rule_8_a_chain_that_is_gone_above_its_boundary_halts() {
    let bench = Bench::new();
    bench.filled(4).await.collect(3).await.expect("collects");
    bench.remove(4).await;
    halts(&bench, ErrorKind::Corrupt, 4, "nothing is left above the boundary").await;
}

#[tokio::test]
async fn rule_8_a_missing_newest_data_record_halts() {
    // The record below the fences is gone, and no hint tells.
    let bench = Bench::new();
    bench.filled(3).await;
    for _ in 0..3 {
        bench.open().await;
    }
    bench.remove(3).await;
    let store = bench.view();
    store.give_hint(Some(vec![1, 2, 3, 4, 5, 6]));
    let error = bench.open_on(&store).await.expect_err("no data");
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("record=`3`"), "{error}");
    assert_eq!(store.changes(), []);

    // The boundary was moved past it by hand.
    let bench = Bench::new();
    bench.filled(3).await;
    for _ in 0..3 {
        bench.open().await;
    }
    bench.inner.advance_boundary(&bench.id, 4).await.expect("memory");
    halts(&bench, ErrorKind::Corrupt, 3, "boundary has passed").await;
}

#[tokio::test]
async fn rule_8_fences_that_name_a_fence_as_the_newest_data_record_halt() {
    for (fences, found_at, says) in [(1, 4, "names another newest data record"), (2, 1, "is not one")] {
        let bench = Bench::new();
        bench.filled(3).await;
        for _ in 0..fences {
            bench.open().await;
        }
        for number in 4..4 + fences {
            let parent = Some(Record::digest(&bench.raw(number - 1).await.expect("is there")));
            let wrong = Record { newest_data: Some(1), parent, ..bench.record(number).await };
            bench.replace(number, wrong.encode(&bench.id).expect("encodes")).await;
        }
        halts(&bench, ErrorKind::Corrupt, found_at, says).await;
    }
}

#[tokio::test]
async fn rule_8_a_foreign_record_above_the_own_fence_halts() {
    let bench = Bench::new();
    let mut chain = bench.filled(2).await;
    let older = Record { generation: 0, number: 3, ..bench.record(2).await };
    bench.replace(3, older.encode(&bench.id).expect("encodes")).await;
    assert_eq!(chain.append(payload(3)).await.expect_err("impossible").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_hint_may_be_absent_stale_too_high_or_unsorted() {
    for hint in
        [vec![], vec![1], vec![1, 2], vec![3], vec![9], vec![1, 2, 3, 4, 9], vec![5, 1, 3], vec![u64::MAX], vec![0, 5]]
    {
        let bench = Bench::new();
        bench.filled(5).await;
        let store = bench.view();
        store.give_hint(Some(hint.clone()));
        let opened = bench.open_on(&store).await.unwrap_or_else(|e| panic!("{hint:?}: {e}"));
        assert_eq!(opened.newest_data.map(|r| r.number), Some(5), "{hint:?}");
        assert_eq!(opened.chain.next_number(), 7, "{hint:?}");

        let bench = Bench::new();
        bench.filled(5).await.collect(2).await.expect("collects");
        let store = bench.view();
        store.give_hint(Some(hint.clone()));
        assert_eq!(
            bench.open_on(&store).await.unwrap_or_else(|e| panic!("{hint:?}: {e}")).chain.next_number(),
            7,
            "{hint:?}"
        );
    }
}

/// A chain of many records is not read from its beginning, and nothing is read twice.
#[tokio::test]
async fn a_walk_reads_what_it_must() {
    for (hint, reads) in [
        (vec![1, 2, 3, 4, 5], vec![5, 4, 6]),
        (vec![3, 4, 5], vec![5, 4, 6]),
        (vec![0, 5], vec![5, 3, 4, 4, 6]),
        (vec![3], vec![3, 4, 5, 6]),
        (vec![2], vec![3, 4, 5, 6]),
        (vec![], vec![3, 4, 5, 6]),
        (vec![6], vec![6, 3, 4, 5, 6]),
        (vec![7], vec![7, 3, 4, 5, 6, 7]),
    ] {
        let bench = Bench::new();
        bench.filled(5).await.collect(2).await.expect("collects");
        let store = bench.view();
        store.give_hint(Some(hint.clone()));
        let reader = ChainReader::new(Arc::new(store.clone()), bench.id.clone());
        assert_eq!(reader.newest().await.expect("sound").map(|r| r.number), Some(5), "{hint:?}");
        let read: Vec<u64> = store.take_log().into_iter().filter(|(op, _)| *op == Op::Read).map(|(_, n)| n).collect();
        assert_eq!(read, reads, "{hint:?}");
    }
    let bench = Bench::new();
    let store = bench.view();
    let reader = ChainReader::new(Arc::new(store.clone()), bench.id.clone());
    assert_eq!(reader.newest().await.expect("empty"), None);
    assert_eq!(store.take_log().into_iter().filter(|(op, _)| *op == Op::Read).count(), 1);
}

#[tokio::test]
async fn passing_failures_while_opening_are_borne() {
    let bench = Bench::new();
    bench.filled(3).await;
    let store = bench.view();
    for op in [Op::Read, Op::Numbers, Op::Boundary] {
        store.plan(op, [Fault::Busy, Fault::AnswerLost, Fault::RequestLost]);
    }
    assert_eq!(bench.open_on(&store).await.expect("opens").chain.next_number(), 5);
    let store = bench.view();
    store.plan(Op::Read, vec![Fault::Busy; 8]);
    let error = bench.open_on(&store).await.expect_err("no answer");
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unavailable, false));
}

#[tokio::test]
async fn a_reader_tells_what_is_not_written_yet_from_what_was_collected() {
    let bench = Bench::new();
    assert_eq!(bench.reader().newest().await.expect("empty"), None);
    assert_eq!(bench.reader().read(1).await.expect("empty"), None);
    let chain = bench.filled(4).await;
    chain.collect(2).await.expect("collects");
    let reader = bench.reader().with_env(&bench.env);
    assert_eq!(reader.read(5).await.expect("not yet"), None);
    assert_eq!(reader.read(3).await.expect("is there").map(|r| r.payload), Some(payload(3)));
    assert_eq!(reader.newest().await.expect("is there").map(|r| r.number), Some(4));
    for number in [0, 1, 2] {
        let error = reader.read(number).await.expect_err("collected");
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("collected"), "{error}");
    }
    assert_eq!(chain.read(4).await.expect("is there").payload, payload(4));
    assert_eq!(chain.read(5).await.expect_err("missing").kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_pointer_to_a_store_is_a_store() {
    let bench = Bench::new();
    let shared: Arc<dyn CheckpointStore> = Arc::new(bench.inner.clone());
    let boxed: Box<dyn CheckpointStore> = Box::new(Arc::clone(&shared));
    let mut chain = Chain::open(Arc::new(boxed), bench.id.clone(), bench.env.clone()).await.expect("opens").chain;
    for number in 2..=4 {
        chain.append(payload(number)).await.expect("appends");
    }
    chain.collect(2).await.expect("collects");
    assert_eq!((bench.numbers().await, bench.boundary().await), (vec![3, 4], 2));
}
