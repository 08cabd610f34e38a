use landfall::env::Env;
use landfall::model::{Reject, Rows, ShardKey};
use landfall::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Transactional,
    Writer, decide_commit,
};
use landfall::source::ComponentConfig;
use landfall::{Result, async_trait};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Adds numbers up. There are few enough for the staged output to be the numbers themselves: nothing waits in the destination.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    numbers: Vec<u64>,
    marks: HashMap<ShardKey, Mark>,
}

impl Ledger {
    pub fn numbers(&self) -> Vec<u64> {
        self.0.lock().expect("no panic").numbers.clone()
    }

    pub fn sum(&self) -> u64 {
        self.numbers().iter().sum()
    }
}

#[async_trait]
impl Sink for Ledger {
    type Item = Rows<u64>;
    type Staged = Vec<u64>;
    type Promise = Transactional;
    type Writer = Adder;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, epoch: EpochContext) -> Result<Adder> {
        Ok(Adder { numbers: Vec::new(), must_commit: epoch.must_commit })
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<Vec<u64>>) -> Result<CommitOutcome> {
        let mut state = self.0.lock().expect("no panic");
        match decide_commit(state.marks.get(&request.shard), &request.mark, request.previous) {
            CommitDecision::Answer(outcome) => Ok(outcome),
            CommitDecision::Apply => {
                state.numbers.extend(request.staged);
                state.marks.insert(request.shard, request.mark);
                Ok(CommitOutcome::Done)
            }
        }
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(self.0.lock().expect("no panic").marks.get(shard).cloned())
    }

    async fn collect(&self, _shard: &ShardKey, _below_generation: u64, _keep: &[Vec<u64>]) -> Result<u64> {
        Ok(0)
    }
}

pub struct Adder {
    numbers: Vec<u64>,
    must_commit: bool,
}

#[async_trait]
impl Writer for Adder {
    type Item = Rows<u64>;
    type Staged = Vec<u64>;

    async fn write(&mut self, item: Rows<u64>) -> Result<Vec<Reject>> {
        self.numbers.extend(item.0);
        Ok(Vec::new())
    }

    fn staged_bytes(&self) -> u64 {
        8 * self.numbers.len() as u64
    }

    async fn finish(self) -> Result<Option<StagedOutput<Vec<u64>>>> {
        let Self { numbers, must_commit } = self;
        let records = numbers.len() as u64;
        let output = StagedOutput { staged: numbers, records, bytes: 8 * records };
        Ok((must_commit || records > 0).then_some(output))
    }
}

#[cfg(feature = "testkit")]
mod conformance {
    use super::*;
    use landfall::testkit::conformance::Destination;
    use landfall::testkit::{FaultSink, Faults};
    use std::ops::Range;

    #[async_trait]
    impl Destination for Ledger {
        type Sink = FaultSink<Self>;

        fn sink(&self) -> FaultSink<Self> {
            FaultSink::new(self.clone(), &Faults::none())
        }

        async fn reached_by(&self, faults: &Faults) -> Option<FaultSink<Self>> {
            Some(FaultSink::new(self.clone(), faults))
        }

        fn item(&self, numbers: Range<u64>) -> Rows<u64> {
            Rows(numbers.collect())
        }

        fn bad_item(&self, _numbers: Range<u64>) -> Option<Rows<u64>> {
            None // it holds every number
        }

        fn stages_outside(&self) -> bool {
            false // all of it lies in the checkpoint
        }

        async fn read(&self) -> Vec<u64> {
            let mut numbers = self.numbers();
            numbers.sort_unstable();
            numbers
        }
    }

    landfall::sink_conformance!(Ledger::default());
}
