//! Rule 5: every conditional put can be ambiguous. Rule 7: a store that ignores conditions is refused.

use super::*;
use crate::error::Status;
use Fault::*;

async fn append_under(
    create: impl IntoIterator<Item = Fault>,
    read: impl IntoIterator<Item = Fault>,
) -> (Bench, Chain, Result<u64>) {
    let bench = Bench::new();
    let store = bench.view();
    let mut chain = bench.open_on(&store).await.expect("opens").chain;
    store.plan(Op::Create, create);
    store.plan(Op::Read, read);
    let appended = chain.append(payload(2)).await;
    (bench, chain, appended)
}

#[tokio::test]
async fn rule_5_an_own_write_is_recognised_whatever_the_store_answered() {
    let cases: [(&[Fault], &[Fault]); 9] = [
        (&[AnswerLost], &[]),
        (&[TriedTwice], &[]),
        (&[RequestLost], &[]),
        (&[Conflict], &[]),
        (&[Busy], &[]),
        (&[RequestLost, Conflict, Busy, AnswerLost], &[]),
        (&[AnswerLost, Conflict], &[RequestLost, Busy]),
        (&[AnswerLost, Denied], &[Busy]),
        (&[const { Conflict }; 7], &[]),
    ];
    for (create, read) in cases {
        let (bench, mut chain, appended) = append_under(create.to_vec(), read.to_vec()).await;
        assert_eq!(appended.expect("mine"), 2, "{create:?} {read:?}");
        assert_eq!(bench.record(2).await.payload, payload(2), "{create:?} {read:?}");
        assert_eq!(chain.append(payload(3)).await.expect("goes on"), 3, "{create:?} {read:?}");
        assert_eq!(bench.numbers().await, [1, 2, 3]);
    }
}

#[tokio::test]
async fn rule_5_another_owners_record_is_recognised_whatever_the_store_answered() {
    for answer in [Pass, AnswerLost, TriedTwice, RequestLost, Conflict, Busy] {
        let bench = Bench::new();
        let store = bench.view();
        let mut chain = bench.open_on(&store).await.expect("opens").chain;
        bench.open().await;
        store.plan(Op::Create, [answer.clone()]);
        let error = chain.append(payload(2)).await.expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Fenced, "{answer:?}: {error}");
        assert!(error.to_string().contains("owner_generation=`2`"), "{error}");
    }
}

#[tokio::test]
async fn rule_5_what_stays_open_is_ambiguous_and_the_chain_is_given_up() {
    let cases: [(Vec<Fault>, Vec<Fault>); 4] = [
        (vec![RequestLost; 8], vec![]),
        (vec![Conflict; 8], vec![]),
        (vec![AnswerLost], vec![Busy; 8]),
        (vec![RequestLost, Denied], vec![]),
    ];
    for (create, mut read) in cases {
        if !read.is_empty() {
            read.extend(vec![Busy; 8]);
        }
        let shown = format!("{create:?} {read:?}");
        let (bench, mut chain, appended) = append_under(create, read).await;
        let before = bench.numbers().await;
        for error in [appended.expect_err("open"), chain.append(payload(9)).await.expect_err("given up")] {
            assert_eq!(error.kind(), ErrorKind::Ambiguous, "{shown}: {error}");
        }
        assert_eq!(chain.collect(9).await.expect_err("never clean up").kind(), ErrorKind::Ambiguous, "{shown}");
        assert_eq!(bench.numbers().await, before, "{shown}");
    }
}

#[tokio::test]
async fn a_refusal_before_any_doubt_is_no_doubt() {
    for (faults, kind, status) in
        [(vec![Denied], ErrorKind::Auth, Status::Permanent), (vec![Busy; 8], ErrorKind::Unavailable, Status::Exhausted)]
    {
        let (bench, mut chain, appended) = append_under(faults, []).await;
        let refused = appended.expect_err("refused");
        assert_eq!((refused.kind(), refused.status()), (kind, status));
        assert_eq!(chain.append(payload(2)).await.expect_err("given up").kind(), kind);
        assert_eq!(bench.numbers().await, [1]);
    }
}

#[tokio::test]
async fn the_first_retry_comes_soon_and_all_of_them_within_seconds() {
    let (bench, _, appended) = append_under([Busy], []).await;
    appended.expect("mine");
    assert!(bench.env.monotonic() <= Duration::from_millis(50), "{:?}", bench.env.monotonic());
    let (bench, _, appended) = append_under(vec![RequestLost; 8], []).await;
    appended.expect_err("open");
    assert!(bench.env.monotonic() <= Duration::from_secs(5), "{:?}", bench.env.monotonic());
}

#[tokio::test]
async fn an_append_that_was_dropped_leaves_the_outcome_open() {
    let bench = Bench::new();
    let store = bench.view();
    let mut chain = bench.open_on(&store).await.expect("opens").chain;
    store.plan(Op::Create, [Held(Arc::new(Notify::new()))]);
    {
        let mut appending = Box::pin(chain.append(payload(2)));
        start(&mut appending);
    }
    assert_eq!(chain.append(payload(2)).await.expect_err("dropped").kind(), ErrorKind::Ambiguous);
}

#[tokio::test]
async fn rule_5_a_fence_whose_answer_was_lost_is_recognised() {
    for answer in [AnswerLost, TriedTwice, RequestLost, Conflict] {
        let bench = Bench::new();
        bench.filled(3).await;
        let store = bench.view();
        store.plan(Op::Create, [answer.clone()]);
        let mut opened = bench.open_on(&store).await.expect("opens");
        assert_eq!((opened.chain.generation(), opened.chain.next_number()), (2, 5), "{answer:?}");
        assert_eq!(opened.chain.append(payload(5)).await.expect("owns it"), 5);
    }
}

#[tokio::test]
async fn rule_7_a_store_that_ignores_conditions_is_refused() {
    let bench = Bench::new();
    for _ in 0..2 {
        probe(&bench.view(), &bench.env).await.expect("memory keeps conditions, the first time and later");
    }
    for says in [Created::New, Created::Exists] {
        let store = Scripted { overwrites: Some(says), ..Scripted::default() };
        let error = probe(&store, &bench.env).await.expect_err("it overwrites");
        assert_eq!(error.kind(), ErrorKind::Config, "{says:?}: {error}");
    }
}

#[tokio::test]
async fn the_probe_bears_lost_answers_and_says_when_nothing_can_be_written() {
    let env = still_env();
    for answer in [AnswerLost, TriedTwice, RequestLost, Conflict, Busy] {
        let store = Scripted::default();
        store.plan(Op::Create, [answer.clone()]);
        probe(&store, &env).await.unwrap_or_else(|e| panic!("{answer:?}: {e}"));
    }
    for (answer, kind) in [(Conflict, ErrorKind::Config), (Busy, ErrorKind::Unavailable), (Denied, ErrorKind::Auth)] {
        let store = Scripted::default();
        store.plan(Op::Create, vec![answer.clone(); 8]);
        assert_eq!(probe(&store, &env).await.expect_err("no record").kind(), kind, "{answer:?}");
    }
}
