//! Landing to sink, for one shard: stages run beside the I/O, epochs are prepared, then committed.

mod commit;
mod enumeration;
mod epoch;
mod running;

use crate::checkpoint::CheckpointStore;
use crate::checkpoint::chain::Chain;
use crate::env::Env;
use crate::error::Result;
use crate::landing::{Accounts, LandingReader, Retention};
use crate::model::{Incarnation, ShardKey};
use crate::pipeline::epoch::{Checkpoint, ConfigRecord, InputPosition, Owner};
use crate::pipeline::erased::{AnySink, AnyStage};
use crate::pipeline::events::Events;
use crate::pipeline::feed::Feed;
use crate::pipeline::program::Program;
use crate::pipeline::settings::Settings;
use crate::pipeline::state::StateObjects;
use crate::sink::Quarantine;
use epoch::Epoch;
use running::Running;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// The sink among the stages of a ledger, where it has refused records.
pub(in crate::pipeline) const SINK: &str = "sink";

/// What the load of a shard is made of.
pub(in crate::pipeline) struct Load {
    pub shard: ShardKey,
    pub env: Env,
    pub settings: Settings,
    pub sink: Arc<dyn AnySink>,
    pub quarantine: Option<Quarantine>,
    pub checkpoints: Arc<dyn CheckpointStore>,
    pub state: Option<StateObjects>,
    pub retention: Option<Retention>,
    /// What became of the records of each partition; `None` without a landing.
    pub accounts: Option<Accounts>,
    pub stages: Vec<Box<dyn AnyStage>>,
    pub config: ConfigRecord,
    /// `None` if it reads its source directly.
    pub landing: Option<LandingReader>,
    pub events: Events,
    /// Whether an enumeration is whole although records of it are in the quarantine.
    pub accept_quarantined: bool,
}

/// A load that owns its chain and has finished what an earlier owner prepared.
pub(in crate::pipeline) struct OpenLoad {
    pub load: Load,
    pub chain: Chain,
    pub owner: Owner,
    pub newest: (u64, Checkpoint),
}

/// What is left when a load has ended well.
pub(in crate::pipeline) struct Loaded {
    chain: Chain,
    load: Load,
    newest: (u64, Checkpoint),
    /// Whether the newest enumeration is whole.
    whole: bool,
}

impl OpenLoad {
    /// Where to go on.
    pub(in crate::pipeline) fn position(&self) -> InputPosition {
        self.newest.1.input.clone()
    }

    /// The landing that was read up to there.
    pub(in crate::pipeline) fn landing(&self) -> Option<&Incarnation> {
        self.newest.1.landing.as_ref()
    }

    /// Loads everything that the feed gives, and commits it.
    pub(in crate::pipeline) async fn run(mut self, feed: Feed, landing: Option<Incarnation>) -> Result<Loaded> {
        let mut leading = Program::new(std::mem::take(&mut self.load.stages));
        let copies = leading.fork_leading();
        let ordered = leading.split_off(copies.stages.len());
        let position = self.position();
        if let Some(accounts) = &mut self.load.accounts {
            accounts.restore(self.chain.generation(), &self.newest.1.accounts);
        }
        let Self { load, chain, owner, newest } = self;
        let epoch = Epoch::new(&leading, &ordered);
        let enumeration = newest.1.enumeration_on(load.sink.demand());
        let whole = newest.1.enumeration.is_some_and(|e| e.whole);
        let running = Running {
            load,
            chain,
            owner,
            newest,
            position,
            landing,
            feed,
            leading,
            idle: vec![copies],
            ordered: Some(ordered),
            in_flight: VecDeque::new(),
            epoch,
            enumeration,
            whole,
            refused: None,
            pending: None,
            named: HashSet::new(),
            attempt: 0,
        };
        running.run().await
    }
}

impl Loaded {
    /// Whether the newest enumeration of the landing is whole.
    pub(in crate::pipeline) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Deletes what no recovery and no reader needs any more: boundaries first, then objects. Returns how many.
    pub(in crate::pipeline) async fn collect(&mut self) -> Result<u64> {
        let (number, checkpoint) = &self.newest;
        let load = &self.load;
        let mut deleted = self.chain.collect(number.saturating_sub(load.settings.kept_checkpoints)).await?;
        if let Some(state) = &load.state {
            deleted += state.collect(&checkpoint.state, *number).await?;
        }
        if let Some(accounts) = &load.accounts {
            deleted += accounts.collect(&checkpoint.accounts, *number).await?;
        }
        let generation = self.chain.generation();
        let staged: Vec<_> = checkpoint.prepared.iter().map(|p| p.staged.clone()).collect();
        deleted += load.sink.collect(&load.shard, generation, &staged).await?;
        if let Some(quarantine) = &load.quarantine {
            let keep: Vec<_> = checkpoint.quarantine.iter().cloned().collect();
            deleted += quarantine.collect(&load.shard, generation, &keep).await?;
        }
        Ok(deleted)
    }
}
