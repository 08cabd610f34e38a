//! How a load takes its shard over. What does not fit is refused before anything is touched, so that a start that is
//! refused leaves a running instance alone.

use super::epoch::{Checkpoint, InputPosition, Owner, check_mark, is_committed, roll_forward};
use super::events::Event;
use super::load::{Load, OpenLoad};
use super::state;
use crate::checkpoint::chain::{Chain, ChainReader, Opened};
use crate::checkpoint::{ChainId, Record};
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::model::{Incarnation, LandingPosition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Times that a chain is looked at which moves on meanwhile.
const LOOKS: usize = 8;

impl Load {
    /// Takes the chain over and rolls the newest prepared epoch forward.
    ///
    /// # Errors
    /// `Config` if the pipeline does not fit what is there, `Corrupt` if that does not fit together; both before anything
    /// was touched, unless it changed at the same time. `Fenced` if another owner takes over meanwhile.
    pub(super) async fn open(mut self) -> Result<OpenLoad> {
        let (mut chain, owner, newest) = self.own().await?;
        match self.recover(&mut chain, &owner, newest).await {
            Ok(newest) => Ok(OpenLoad { load: self, chain, owner, newest }),
            Err(error) => Err(chain.explain(error).await),
        }
    }

    /// Takes the chain over, if what is there fits; gives its newest data record too.
    pub(super) async fn own(&mut self) -> Result<(Chain, Owner, Option<Record>)> {
        self.look().await?;
        let id = ChainId::checkpoints(&self.shard);
        let opened = Chain::open(Arc::clone(&self.checkpoints), id, self.env.clone()).await?;
        let Opened { chain, newest_data } = opened;
        let owner = Owner {
            shard: self.shard.clone(),
            incarnation: chain.incarnation().clone(),
            generation: chain.generation(),
        };
        Ok((chain, owner, newest_data))
    }

    /// Checks what is there, without owning it.
    async fn look(&mut self) -> Result<()> {
        let reader = ChainReader::new(Arc::clone(&self.checkpoints), ChainId::checkpoints(&self.shard));
        let reader = reader.with_env(&self.env);
        let mut newest = reader.newest_data().await?;
        for _ in 0..LOOKS {
            let Err(error) = self.check(newest.as_ref()).await else { return Ok(()) };
            // A running instance moves on: what was read first may not fit what was read next.
            let now = reader.newest_data().await?;
            if now.as_ref().map(|r| r.number) == newest.as_ref().map(|r| r.number) {
                return Err(error);
            }
            newest = now;
        }
        // It is checked again once nobody else can move it.
        Ok(())
    }

    /// Checks that the pipeline, its destination and its landing fit the newest checkpoint.
    pub(super) async fn check(&mut self, newest: Option<&Record>) -> Result<Option<Checkpoint>> {
        let checkpoint = newest.map(|record| Checkpoint::decode(&self.shard, record)).transpose()?;
        if let Some(checkpoint) = &checkpoint {
            // Before the mark: that a destination is another one says more than that it does not hold what is expected.
            checkpoint.config.check_identity(&self.config, checkpoint.input != self.beginning())?;
        }
        check_mark(self.sink.as_ref(), &self.shard, newest.zip(checkpoint.as_ref())).await?;
        if let Some(checkpoint) = &checkpoint {
            checkpoint.check_quarantine(&self.config)?;
            state::check(self.stages.iter_mut(), &checkpoint.state)?;
        }
        let refuse = |message: &'static str, hint: &'static str| {
            Err(Error::config("open pipeline", message).with("shard", &self.shard).with_hint(hint))
        };
        let input = checkpoint.as_ref().map_or_else(|| self.beginning(), |c| c.input.clone());
        match (&self.landing, input) {
            (Some(landing), InputPosition::Landing(from)) => {
                landing.check(from, checkpoint.as_ref().and_then(|c| c.landing.as_ref())).await?;
            }
            (None, InputPosition::Source(_)) => {}
            (Some(_), InputPosition::Source(_)) => {
                return refuse(
                    "the checkpoints are of a pipeline without a landing",
                    "take the landing away, or use a new pipeline name and an empty destination",
                );
            }
            (None, InputPosition::Landing(_)) => {
                return refuse(
                    "the checkpoints are of a pipeline with a landing",
                    "put the landing back, or use a new pipeline name and an empty destination",
                );
            }
        }
        Ok(checkpoint)
    }

    /// Where a load begins that has loaded nothing.
    fn beginning(&self) -> InputPosition {
        match self.landing {
            Some(_) => InputPosition::Landing(LandingPosition { segment: 1, record: 0 }),
            None => InputPosition::Source(BTreeMap::new()),
        }
    }

    /// Finishes what an earlier owner prepared, and takes up its state.
    async fn recover(&mut self, chain: &mut Chain, owner: &Owner, newest: Option<Record>) -> Result<(u64, Checkpoint)> {
        let (number, checkpoint) = match (self.check(newest.as_ref()).await?, newest) {
            (Some(checkpoint), Some(record)) => (record.number, checkpoint),
            _ => {
                // The configuration is recorded before anything is landed under it: else a change of identity could not
                // be told, and positions of another identity would be taken up.
                let first = Checkpoint::first(self.config.clone(), self.beginning());
                (chain.append(first.encode()?).await?, first)
            }
        };
        let (number, checkpoint, committed) = self.finish(chain, owner, number, checkpoint).await?;
        if checkpoint.config.settings != self.config.settings {
            self.events.send(Event::ConfigChanged { shard: self.shard.clone() });
        }
        if committed {
            let (shard, ledger) = (self.shard.clone(), checkpoint.ledger.clone());
            self.events.send(Event::EpochCommitted { shard, epoch: number, ledger });
        }
        state::restore(self.state.as_ref(), self.stages.iter_mut(), &checkpoint.state).await?;
        self.events.send(Event::ShardOpened {
            shard: self.shard.clone(),
            generation: owner.generation,
            recovered: committed.then_some(number),
        });
        self.publish(&owner.incarnation, &checkpoint.input).await?;
        Ok((number, checkpoint))
    }

    /// Brings the newest epoch to its end; says whether the sink has committed it now. If it abandons another one that an older owner has
    /// committed before, that one counts: the chain says so next.
    pub(super) async fn finish(
        &self,
        chain: &mut Chain,
        owner: &Owner,
        number: u64,
        checkpoint: Checkpoint,
    ) -> Result<(u64, Checkpoint, bool)> {
        if on(Defect::PreparedEpochIsDropped) {
            return Ok((number, checkpoint, false));
        }
        let (env, sink, quarantine) = (&self.env, self.sink.as_ref(), self.quarantine.as_ref());
        let ended = roll_forward(env, sink, quarantine, owner, number, &checkpoint, &self.events).await;
        let abandoned = match (ended, checkpoint.abandons(number)) {
            (Ok(committed), _) => return Ok((number, checkpoint, committed)),
            (Err(error), Some(abandons)) if is_committed(sink, &self.shard, abandons).await? => {
                tracing::warn!(shard = %self.shard, %error, epoch = abandons.epoch, "an epoch that was to be abandoned was committed before");
                abandons.epoch
            }
            (Err(error), _) => return Err(error),
        };
        let committed = Checkpoint::decode(&self.shard, &chain.read(abandoned).await?)?;
        committed.check_quarantine(&self.config)?;
        let committed = Checkpoint { prepared: None, ..committed };
        let number = chain.append(committed.encode()?).await?;
        roll_forward(env, sink, quarantine, owner, number, &committed, &self.events).await?;
        Ok((number, committed, false))
    }

    /// Publishes how far the load has committed, for the retention of its landing.
    pub(super) async fn publish(&self, incarnation: &Incarnation, position: &InputPosition) -> Result<()> {
        match (&self.retention, position) {
            (Some(retention), InputPosition::Landing(position)) => {
                retention.publish(&self.shard.pipeline, incarnation, *position).await
            }
            _ => Ok(()),
        }
    }
}
