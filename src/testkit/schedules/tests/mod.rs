mod histories;
mod met;
mod pairs;
mod panics;
mod texts;

use super::*;
use crate::checkpoint::MemoryCheckpoints;
use crate::env::Env;
use crate::error::{Error, ErrorKind};
use crate::model::{Rows, ShardKey};
use crate::pipeline::{Pipeline, Settings};
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, Transactional, decide_commit,
};
use crate::source::{ComponentConfig, IterSource};
use crate::testkit::rowed::Rowed;
use crate::testkit::{Effect, FaultCheckpoints, FaultSink, FaultSource, test_env};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What the sink of a world does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    /// It applies what it has committed already.
    NotIdempotent,
    /// It sets the mark in a step of its own, before the rows.
    MarkFirst,
    /// It calls for somebody, with this kind of error, where it is not told whether its rows were applied.
    DoubtIs(ErrorKind),
}

#[derive(Clone, Debug)]
struct Table {
    defect: Defect,
    content: Arc<Mutex<(Vec<u64>, Option<Mark>)>>,
    faults: Faults,
}

#[async_trait]
impl Sink for Table {
    type Item = Rows<u64>;
    type Staged = Vec<u64>;
    type Promise = Transactional;
    type Writer = Rowed;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, epoch: EpochContext) -> Result<Rowed> {
        Ok(Rowed::of(&epoch))
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<Vec<u64>>) -> Result<CommitOutcome> {
        let Defect::DoubtIs(kind) = self.defect else { return self.apply(request).await };
        let told = self.faults.point("apply", request.mark.epoch, self.apply(request)).await;
        told.map_err(|e| if Faults::is_crash(&e) { e } else { Error::new(kind, "apply", "something is wrong here") })
    }

    async fn mark(&self, _shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(self.content.lock().expect("no panic").1.clone())
    }

    async fn collect(&self, _shard: &ShardKey, _below_generation: u64, _keep: &[Vec<u64>]) -> Result<u64> {
        Ok(0)
    }
}

impl Table {
    async fn apply(&self, request: CommitRequest<Vec<u64>>) -> Result<CommitOutcome> {
        let held = self.content.lock().expect("no panic").1.clone();
        let decision = match (decide_commit(held.as_ref(), &request.mark, request.previous), self.defect) {
            (CommitDecision::Answer(CommitOutcome::AlreadyCommitted), Defect::NotIdempotent) => CommitDecision::Apply,
            (decision, _) => decision,
        };
        if let CommitDecision::Answer(outcome) = decision {
            return Ok(outcome);
        }
        if self.defect == Defect::MarkFirst {
            self.content.lock().expect("no panic").1 = Some(request.mark.clone());
            self.faults.point("apply rows", request.mark.epoch, async { Ok(()) }).await?;
        }
        let mut content = self.content.lock().expect("no panic");
        content.0.extend(request.staged);
        content.1 = Some(request.mark);
        Ok(CommitOutcome::Done)
    }
}

struct Numbers {
    defect: Defect,
    content: Arc<Mutex<(Vec<u64>, Option<Mark>)>>,
    checkpoints: MemoryCheckpoints,
    processes: AtomicU64,
}

impl Numbers {
    fn with(defect: Defect) -> Self {
        Self {
            defect,
            content: Arc::default(),
            checkpoints: MemoryCheckpoints::default(),
            processes: AtomicU64::new(1),
        }
    }
}

#[async_trait]
impl World for Numbers {
    async fn process(&self, faults: &Faults) -> Result<()> {
        let table = Table { defect: self.defect, content: Arc::clone(&self.content), faults: faults.clone() };
        let settings = Settings { epoch_records: 2, ..Settings::default() };
        let pipeline = Pipeline::named("numbers")
            .source(FaultSource::new(IterSource::new(1..=6).with_batch(2), faults))
            .sink(FaultSink::new(table, faults))
            .checkpoints(FaultCheckpoints::new(self.checkpoints.clone(), faults))
            .settings(settings)
            .env(test_env(self.processes.fetch_add(1, Ordering::SeqCst)))
            .build()?;
        pipeline.run().await?;
        Ok(())
    }

    async fn verdict(&self) -> Verdict {
        Verdict::of(1..=6, self.content.lock().expect("no panic").0.iter().copied())
    }

    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_right_sink_passes_and_one_history_is_like_the_other() {
    let schedules = Schedules::of(|| Numbers::with(Defect::None)).pairs(40);
    let outcome = schedules.run().await;
    outcome.assert_right();
    let distinct = outcome.trace.iter().map(|point| match point.effect {
        Effect::None => 3,
        Effect::Whole => 5,
        _ => 6,
    });
    assert_eq!(outcome.schedules, distinct.sum::<u64>() + 40, "{outcome}");
    assert!(outcome.points > 10, "{outcome}");
    let items = outcome.trace.iter().filter(|point| point.operation == "read on").count();
    assert!(items >= 3, "each item is a point: {:?}", outcome.trace);
    assert_eq!(outcome, schedules.run().await);
}

#[tokio::test]
async fn a_sink_that_breaks_a_rule_is_found_and_the_schedule_can_be_replayed() {
    let doubled = |total: &Verdict| total.lost == 0 && total.doubled > 0;
    let lost = |total: &Verdict| total.lost > 0;
    let defects: [(Defect, &dyn Fn(&Verdict) -> bool); 2] =
        [(Defect::NotIdempotent, &doubled), (Defect::MarkFirst, &lost)];
    for (defect, shows) in defects {
        let schedules = Schedules::of(|| Numbers::with(defect)).pairs(20);
        let outcome = schedules.run().await;
        assert!(shows(&outcome.total), "{defect:?}: {outcome}");
        let first = outcome.wrong.first().expect("it was found");
        assert_eq!(schedules.replay(first.schedule).await, first.verdict, "{defect:?}");
        let pairs = outcome.wrong.iter().filter(|wrong| wrong.schedule.second.is_some()).count();
        assert_eq!(pairs, 0, "{defect:?}: what one fault shows is not told of two");
    }
}

#[tokio::test]
async fn who_calls_for_somebody_where_a_fresh_start_is_enough_is_found() {
    for kind in [ErrorKind::Corrupt, ErrorKind::Bug, ErrorKind::Config] {
        let outcome = Schedules::of(|| Numbers::with(Defect::DoubtIs(kind))).pairs(0).run().await;
        // Whatever it says, the next process recovers, and everything is there once.
        let said = if kind == ErrorKind::Corrupt { outcome.wrong.len() as u64 } else { 0 };
        let Verdict { lost, doubled, corrupt, invented, partial, .. } = outcome.total;
        assert_eq!((lost, doubled, corrupt, invented, partial), (0, 0, said, 0, 0), "{outcome}");
        let told: Vec<_> = outcome.wrong.iter().map(Wrong::to_string).collect();
        let modes = ["LostResponse", "Fail"].map(|mode| told.iter().filter(|told| told.starts_with(mode)).count());
        assert!(modes[0] > 0 && modes[0] == modes[1] && modes[0] + modes[1] == told.len(), "{told:?}");
        for told in &told {
            assert!(
                told.contains(", apply `")
                    && told.contains("wrong=1; a process that lived on ended with apply: something is wrong here"),
                "{told}"
            );
        }
    }
    Schedules::of(|| Numbers::with(Defect::DoubtIs(ErrorKind::Ambiguous))).pairs(0).run().await.assert_right();
}

#[tokio::test]
#[should_panic(expected = "repeat the first: .replay(Schedule::single(Plan { at: ")]
async fn a_failure_says_how_to_repeat_it() {
    Schedules::of(|| Numbers::with(Defect::NotIdempotent)).pairs(0).run().await.assert_right();
}

#[tokio::test]
async fn what_went_wrong_names_the_operation() {
    let outcome =
        Schedules::of(|| Numbers::with(Defect::NotIdempotent)).modes([Mode::AfterLostResponse]).pairs(0).run().await;
    let told: Vec<_> = outcome.wrong.iter().map(Wrong::to_string).collect();
    assert!(told.iter().any(|t| t.starts_with("AfterLostResponse at ") && t.contains(", commit `")), "{told:?}");
}

#[test]
fn a_verdict_counts_each_record() {
    let verdict = Verdict::of([1, 1, 2, 3], [1, 1, 1, 3, 9, 9]);
    assert_eq!((verdict.lost, verdict.doubled, verdict.invented), (1, 1, 2));
    assert!(!verdict.is_right() && Verdict::of(["a"], ["a"]).is_right());
}
