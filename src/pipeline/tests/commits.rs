//! Commit, the mark and the configuration, over a sink that answers what it is told to.

use super::*;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::EpochLedger;
use crate::pipeline::abandoned::AbandonedEpoch;
use crate::pipeline::epoch::{
    Checkpoint, ConfigRecord, InputPosition, Owner, Prepared, QUARANTINE, SOURCE, check_mark, check_transactional,
    digest, is_committed, roll_forward, sha256,
};
use crate::pipeline::erased::{AnySink, AnyWriter};
use crate::pipeline::events::{Event, Events};
use crate::sink::{
    AtLeastOnce, CommitOutcome, CommitRequest, Demand, Enumeration, EpochContext, Mark, Promise, QuarantineRef,
    Transactional,
};
use crate::source::ComponentConfig;
use crate::testkit::test_env;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// Answers commits one after the other; the last answer stays.
struct Told {
    answers: Mutex<VecDeque<Result<CommitOutcome, ErrorKind>>>,
    asked: Mutex<Vec<CommitRequest<Value>>>,
    mark: Option<Mark>,
    promise: &'static str,
}

impl Told {
    fn answers(answers: impl IntoIterator<Item = Result<CommitOutcome, ErrorKind>>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect());
        Self { answers, asked: Mutex::default(), mark: None, promise: Transactional::NAME }
    }

    fn holds(mark: Option<Mark>) -> Self {
        Self { mark, ..Self::answers([]) }
    }
}

#[async_trait]
impl AnySink for Told {
    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }
    fn promise(&self) -> &'static str {
        self.promise
    }
    fn demand(&self) -> Demand {
        Demand::Increments
    }
    async fn open(&self, _: EpochContext) -> Result<Box<dyn AnyWriter>> {
        Err(Error::bug("open", "not here"))
    }
    async fn commit(&self, _: &Env, request: CommitRequest<Value>) -> Result<CommitOutcome> {
        self.asked.lock().expect("no panic").push(request);
        let answer = self.answers.lock().expect("no panic").pop_front().expect("an answer is left");
        answer.map_err(|kind| Error::new(kind, "commit", "told so"))
    }
    async fn mark(&self, _: &ShardKey) -> Result<Option<Mark>> {
        Ok(self.mark.clone())
    }
    async fn collect(&self, _: &ShardKey, _: u64, _: &[Value]) -> Result<u64> {
        Ok(0)
    }
}

fn life() -> Incarnation {
    Incarnation("a".into())
}

fn mark(epoch: u64) -> Mark {
    Mark { incarnation: life(), generation: 2, epoch, digest: format!("of {epoch}") }
}

fn empty() -> Checkpoint {
    let input = InputPosition::Landing(LandingPosition { segment: 3, record: 4 });
    Checkpoint::first(ConfigRecord::default(), input)
}

/// Epoch 7, after epoch 5.
fn prepared() -> Checkpoint {
    let staged = Prepared { previous: Some(5), digest: "of 7".into(), staged: json!(["a"]) };
    Checkpoint { prepared: Some(staged), marked: Some(7), ..empty() }
}

async fn commit(sink: &Told) -> (Result<bool>, Duration, usize) {
    let env = test_env(1);
    let events = Events::new(&shard().pipeline);
    let mut told = events.subscribe();
    let owner = Owner { shard: shard(), incarnation: life(), generation: 2 };
    let began = env.monotonic();
    let done = roll_forward(&env, sink, None, &owner, 7, &prepared(), &events).await;
    let mut retried = 0;
    while let Ok(Event::CommitRetried { epoch: 7, .. }) = told.try_recv() {
        retried += 1;
    }
    (done, env.monotonic().saturating_sub(began), retried)
}

#[tokio::test]
async fn a_commit_is_asked_again_while_its_failure_may_pass_and_no_more_than_five_times() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Ambiguous] {
        for failures in 0..5 {
            let sink = Told::answers(vec![Err(kind); failures].into_iter().chain([Ok(CommitOutcome::Done)]));
            let (done, slept, retried) = commit(&sink).await;
            assert!(done.expect("it passes"));
            assert_eq!((sink.asked.lock().expect("no panic").len(), retried), (failures + 1, failures));
            let pauses = [100, 200, 400, 800].into_iter().take(failures).sum();
            assert_eq!(slept, Duration::from_millis(pauses), "short pauses, each twice as long");
        }
        let sink = Told::answers(vec![Err(kind); 5]);
        let (done, _, retried) = commit(&sink).await;
        let error = done.expect_err("it does not pass");
        assert_eq!((error.kind(), retried), (kind, 4));
        assert!(error.to_string().contains("epoch=`7`") && error.to_string().contains("orders/0000"), "{error}");
    }
    let (done, _, retried) = commit(&Told::answers([Err(ErrorKind::Auth)])).await;
    assert_eq!((done.expect_err("it cannot pass").kind(), retried), (ErrorKind::Auth, 0));
}

#[tokio::test]
async fn what_the_sink_answers_is_what_comes_of_an_epoch() {
    let sink = Told::answers([Ok(CommitOutcome::Done), Ok(CommitOutcome::AlreadyCommitted)]);
    assert!(commit(&sink).await.0.expect("commits"));
    assert!(!commit(&sink).await.0.expect("was committed"));
    let asked = sink.asked.lock().expect("no panic").remove(0);
    assert_eq!((asked.mark, asked.previous, asked.staged), (mark(7), Some(5), json!(["a"])));
    assert_eq!((asked.shard, asked.load.position.as_str()), (shard(), r#"{"landing":{"segment":3,"record":4}}"#));

    for (outcome, kind, says) in [
        (CommitOutcome::Fenced { generation: 9 }, ErrorKind::Fenced, "newer=`9`"),
        (CommitOutcome::Gap { found: None }, ErrorKind::Corrupt, "found=`nothing`"),
        (CommitOutcome::Gap { found: Some(mark(3)) }, ErrorKind::Corrupt, "found=`epoch 3 of generation 2 (a)`"),
        (CommitOutcome::Fork { found: mark(7) }, ErrorKind::Corrupt, "another history"),
    ] {
        let error = commit(&Told::answers([Ok(outcome)])).await.0.expect_err("halts");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_asked_for_an_epoch_without_output() {
    let events = Events::new(&shard().pipeline);
    let owner = Owner { shard: shard(), incarnation: life(), generation: 2 };
    let sink = Told::answers([]);
    assert!(!roll_forward(&test_env(1), &sink, None, &owner, 7, &empty(), &events).await.expect("nothing to do"));
    let rejects = Checkpoint { quarantine: Some(rejects()), ..empty() };
    let lost = roll_forward(&test_env(1), &sink, None, &owner, 7, &rejects, &events).await;
    assert_eq!(lost.expect_err("no quarantine").kind(), ErrorKind::Bug);
}

#[tokio::test]
async fn the_mark_must_be_one_that_the_newest_checkpoint_allows() {
    let abandons = AbandonedEpoch {
        shard: shard(),
        epoch: 6,
        digest: "of 6".into(),
        instead: 7,
        at: Timestamp::default(),
        by: String::new(),
        why: String::new(),
        refusal: String::new(),
        ledger: EpochLedger::default(),
    };
    let instead = Checkpoint { abandoned: vec![abandons.clone()], ..prepared() };
    let earlier = Checkpoint { abandoned: vec![AbandonedEpoch { instead: 5, ..abandons.clone() }], ..prepared() };
    let done = Checkpoint { marked: Some(5), ..empty() };
    let other = Mark { incarnation: Incarnation("b".into()), ..mark(7) };
    let ahead = "is ahead of the checkpoints";
    for (held, checkpoint, says) in [
        (None, None, ""),
        (Some(mark(1)), None, "another life"),
        (Some(mark(7)), Some(&prepared()), ""),
        (Some(mark(5)), Some(&prepared()), ""),
        (Some(mark(6)), Some(&prepared()), "does not hold"),
        (Some(mark(6)), Some(&instead), ""),
        (Some(mark(6)), Some(&earlier), "does not hold"),
        (Some(mark(8)), Some(&prepared()), ahead),
        (Some(other), Some(&prepared()), "another life"),
        (None, Some(&prepared()), "does not hold"),
        (None, Some(&empty()), ""),
        (Some(mark(5)), Some(&done), ""),
        (Some(mark(7)), Some(&done), "does not hold"),
        (None, Some(&done), "does not hold"),
    ] {
        let record = record_of(b"");
        let case = format!("{held:?} {says}");
        let mut sink = Told::holds(held);
        let checked = check_mark(&sink, &shard(), checkpoint.map(|c| (&record, c))).await;
        let error = checked.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(says) && error.is_empty() == says.is_empty(), "{case}: {error}");
        // A sink that keeps no mark in one step with its data may be behind, and no more than that.
        sink.promise = AtLeastOnce::NAME;
        let checked = check_mark(&sink, &shard(), checkpoint.map(|c| (&record, c))).await;
        assert_eq!(checked.is_ok(), says.is_empty() || says == "does not hold", "{case}");
    }

    for (held, committed) in [(None, false), (Some(mark(6)), true), (Some(mark(5)), false)] {
        let sink = Told::holds(held);
        assert_eq!(is_committed(&sink, &shard(), &abandons).await.expect("reads"), committed);
    }
    let twin = Told::holds(Some(Mark { digest: "of another 6".into(), ..mark(6) }));
    assert!(!is_committed(&twin, &shard(), &abandons).await.expect("reads"));
}

#[test]
fn only_a_transactional_sink_lets_an_epoch_be_abandoned() {
    let mut sink = Told::holds(None);
    check_transactional(&sink).expect("all or nothing");
    sink.promise = AtLeastOnce::NAME;
    assert_eq!(check_transactional(&sink).expect_err("a part may be there").kind(), ErrorKind::Config);
}

#[test]
fn a_change_of_what_gives_identity_is_refused() {
    let of = |source: &str, key: Option<&str>| ConfigRecord {
        identity: [(SOURCE.to_owned(), json!(source))]
            .into_iter()
            .chain(key.map(|key| ("stage dedup".to_owned(), json!(key))))
            .collect(),
        ..ConfigRecord::default()
    };
    let before = of("orders", Some("id"));
    for (now, begun, says) in [
        (of("orders", Some("id")), true, ""),
        (of("orders", Some("key")), true, "stage dedup"),
        (of("orders", None), true, "now=`absent`"),
        (of("notes", Some("id")), true, "source"),
        // Before anything was loaded, only the source may have left something: what was landed of it.
        (of("orders", Some("key")), false, ""),
        (of("notes", Some("id")), false, "source"),
    ] {
        let checked = before.check_identity(&now, begun);
        let error = checked.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(says) && error.is_empty() == says.is_empty(), "{now:?} {begun}: {error}");
    }
    let error = of("orders", None).check_identity(&before, true).expect_err("a stage more");
    assert!(error.to_string().contains("before=`absent`"), "{error}");
}

fn rejects() -> QuarantineRef {
    let (staged, path, sha256) = ("_staged/x".to_owned(), "x".to_owned(), String::new());
    QuarantineRef { staged, path, records: 1, bytes: 90, sha256 }
}

#[test]
fn rejects_are_not_left_behind_in_another_quarantine() {
    let of = |name: Option<&str>| ConfigRecord {
        settings: name.map(|name| (QUARANTINE.to_owned(), json!(name))).into_iter().collect(),
        ..ConfigRecord::default()
    };
    for (before, now, refused) in [
        (Some("a"), Some("a"), false),
        (Some("a"), Some("b"), true),
        (Some("a"), None, true),
        (None, Some("a"), false),
        (None, None, true),
    ] {
        let with = Checkpoint { config: of(before), quarantine: Some(rejects()), ..empty() };
        assert_eq!(with.check_quarantine(&of(now)).is_err(), refused, "{before:?} {now:?}");
        let without = Checkpoint { config: of(before), ..empty() };
        without.check_quarantine(&of(now)).expect("there is nothing to leave behind");
    }
}

#[test]
fn an_enumeration_goes_on_until_the_next_begins() {
    let whole = Enumeration { number: 4, whole: true, quarantined: 2 };
    let checkpoint = Checkpoint { enumeration: Some(whole), ..empty() };
    let on = checkpoint.enumeration_on(Demand::Enumerations);
    assert_eq!(on, Some(Enumeration { whole: false, ..whole }));
    assert_eq!(checkpoint.enumeration_on(Demand::Increments), None);
    assert_eq!(empty().enumeration_on(Demand::Enumerations), None);
}

#[test]
fn the_digest_tells_what_was_staged() {
    assert_eq!(sha256(b"[]"), "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945");
    assert_eq!(digest(&json!([])), sha256(b"[]"));
    assert_ne!(digest(&json!(["a"])), digest(&json!(["b"])));
}

/// Each table of a set is bounded by itself, before anything is prepared; together they must fit too.
#[test]
fn a_set_of_tables_with_thousands_of_files_each_is_written() {
    let stats = json!({ "numRecords": 1, "minValues": { "text": "x".repeat(200) } }).to_string();
    let file = json!({ "path": "x".repeat(200), "rows": 1, "partition": { "day": "2024-01-01" }, "stats": stats });
    let table = json!({ "files": vec![file; 4096] });
    let tables: std::collections::BTreeMap<_, _> = (0..8).map(|n| (format!("table_{n}"), table.clone())).collect();
    let staged = json!({ "tables": tables });
    let prepared = Some(Prepared { previous: None, digest: digest(&staged), staged });
    let bytes = Checkpoint { prepared, ..empty() }.encode().expect("fits").len();
    assert!(bytes > 16 << 20, "{bytes}");
}

#[test]
fn a_checkpoint_beyond_its_bound_is_neither_written_nor_read() {
    let of = |bytes: usize| {
        let settings = [("sink".to_owned(), json!("x".repeat(bytes)))].into();
        let config = ConfigRecord { settings, ..ConfigRecord::default() };
        Checkpoint { config, ..empty() }.encode()
    };
    let frame = of(0).expect("small").len();
    let mut largest = of((32 << 20) - frame).expect("fits").to_vec();
    assert_eq!(largest.len(), 32 << 20);
    Checkpoint::decode(&shard(), &record_of(&largest)).expect("what is written is read");
    largest.push(b' ');
    let error = Checkpoint::decode(&shard(), &record_of(&largest)).expect_err("nobody has written it");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("number=`7`"), "{error}");
    let error = of((32 << 20) - frame + 1).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("fewer tables"), "{error}");
}
