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

/// Adds numbers up. The staged output is small enough to be the sum itself.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    sum: u64,
    marks: HashMap<ShardKey, Mark>,
}

impl Ledger {
    pub fn sum(&self) -> u64 {
        self.0.lock().expect("no panic").sum
    }
}

#[async_trait]
impl Sink for Ledger {
    type Item = Rows<u64>;
    type Staged = u64;
    type Promise = Transactional;
    type Writer = Adder;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, _epoch: EpochContext) -> Result<Adder> {
        Ok(Adder { sum: 0, records: 0 })
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<u64>) -> Result<CommitOutcome> {
        let mut state = self.0.lock().expect("no panic");
        match decide_commit(state.marks.get(&request.shard), &request.mark, request.previous) {
            CommitDecision::Answer(outcome) => Ok(outcome),
            CommitDecision::Apply => {
                state.sum += request.staged;
                state.marks.insert(request.shard, request.mark);
                Ok(CommitOutcome::Done)
            }
        }
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(self.0.lock().expect("no panic").marks.get(shard).cloned())
    }

    async fn collect(&self, _shard: &ShardKey, _below_generation: u64, _keep: &[u64]) -> Result<u64> {
        Ok(0)
    }
}

pub struct Adder {
    sum: u64,
    records: u64,
}

#[async_trait]
impl Writer for Adder {
    type Item = Rows<u64>;
    type Staged = u64;

    async fn write(&mut self, item: Rows<u64>) -> Result<Vec<Reject>> {
        self.sum += item.0.iter().sum::<u64>();
        self.records += item.0.len() as u64;
        Ok(Vec::new())
    }

    fn staged_bytes(&self) -> u64 {
        8 * self.records
    }

    async fn finish(self) -> Result<Option<StagedOutput<u64>>> {
        let Self { sum, records } = self;
        Ok((records > 0).then_some(StagedOutput { staged: sum, records, bytes: 8 * records }))
    }
}
