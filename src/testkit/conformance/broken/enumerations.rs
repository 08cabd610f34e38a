use crate::env::Env;
use crate::error::Result;
use crate::model::{Rows, ShardKey};
use crate::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, Transactional, decide_commit,
};
use crate::source::ComponentConfig;
use crate::testkit::Faults;
use crate::testkit::conformance::{Destination, sink};
use crate::testkit::rowed::Rowed;
use async_trait::async_trait;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::task::yield_now;

/// What a sink that replaces does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    AppliesAgain,
    LetsZombiesCommit,
    KeepsWhatDidNotCome,
    ClearsAtTheBeginning,
    KeepsUnfinishedOnes,
    ReplacesInTwoSteps,
    ConfiguresByChance,
}

/// Rows with the enumeration that they came with last, and the mark.
type Content = (BTreeMap<u64, u64>, Option<Mark>);

#[derive(Clone, Debug)]
struct Table {
    defect: Defect,
    content: Arc<Mutex<Content>>,
    made: Arc<Mutex<u64>>,
}

impl Table {
    fn with(defect: Defect) -> Self {
        Self { defect, content: Arc::default(), made: Arc::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no panic under the lock")
    }
}

#[async_trait]
impl Destination for Table {
    type Sink = Broken;

    fn sink(&self) -> Broken {
        let mut made = self.made.lock().expect("no panic");
        *made += 1;
        Broken { table: self.clone(), made: *made }
    }

    /// Doubt is a matter of commits that take what is new.
    async fn reached_by(&self, _faults: &Faults) -> Option<Broken> {
        None
    }

    fn item(&self, numbers: Range<u64>) -> Rows<u64> {
        Rows(numbers.collect())
    }

    async fn read(&self) -> Vec<u64> {
        self.content().0.keys().copied().collect()
    }
}

struct Broken {
    table: Table,
    made: u64,
}

#[async_trait]
impl Sink for Broken {
    type Item = Rows<u64>;
    type Staged = Vec<u64>;
    type Promise = Transactional;
    type Writer = Rowed;

    fn config(&self) -> Result<ComponentConfig> {
        let by_chance = if self.table.defect == Defect::ConfiguresByChance { self.made } else { 0 };
        Ok(ComponentConfig::none().with_identity(json!(by_chance)))
    }

    fn demand(&self) -> Demand {
        Demand::Enumerations
    }

    async fn open(&self, epoch: EpochContext) -> Result<Rowed> {
        Ok(Rowed::of(&epoch))
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<Vec<u64>>) -> Result<CommitOutcome> {
        let defect = self.table.defect;
        let CommitRequest { mark, previous, staged, enumeration, .. } = request;
        let (Some(enumeration), held) = (enumeration, self.table.content().1.clone()) else { panic!("no enumeration") };
        match (decide_commit(held.as_ref(), &mark, previous), defect) {
            (CommitDecision::Answer(CommitOutcome::AlreadyCommitted), Defect::AppliesAgain)
            | (CommitDecision::Answer(CommitOutcome::Fenced { .. }), Defect::LetsZombiesCommit) => {}
            (CommitDecision::Answer(outcome), _) => return Ok(outcome),
            (CommitDecision::Apply, _) => {}
        }
        let number = enumeration.number;
        if defect == Defect::ClearsAtTheBeginning {
            self.table.content().0.retain(|_, of| *of == number);
        }
        self.table.content().0.extend(staged.into_iter().map(|row| (row, number)));
        if enumeration.whole {
            self.table.content().0.retain(|_, of| match defect {
                Defect::KeepsWhatDidNotCome => true,
                Defect::KeepsUnfinishedOnes => *of + 1 >= number,
                _ => *of == number,
            });
            if defect == Defect::ReplacesInTwoSteps {
                yield_now().await;
            }
        }
        self.table.content().1 = Some(mark);
        Ok(CommitOutcome::Done)
    }

    async fn mark(&self, _shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(self.table.content().1.clone())
    }

    async fn collect(&self, _shard: &ShardKey, _below_generation: u64, _keep: &[Vec<u64>]) -> Result<u64> {
        Ok(0)
    }
}

macro_rules! run {
    ($check:ident, $defect:expr) => {
        async { sink::$check(&Table::with($defect)).await }
    };
}

caught! { run:
    g2_the_step_that_makes_whole_is_whole_or_nothing_when_it_is_dropped by ReplacesInTwoSteps;
    g3_the_step_that_makes_whole_again_changes_nothing by AppliesAgain;
    g4_an_older_owner_makes_nothing_whole by LetsZombiesCommit;
    a_whole_enumeration_takes_the_place_of_what_was_there by KeepsWhatDidNotCome;
    nothing_goes_before_an_enumeration_is_whole by ClearsAtTheBeginning;
    one_that_never_became_whole_takes_nothing_away by KeepsUnfinishedOnes;
    its_configuration_is_stable by ConfiguresByChance;
}
