//! The end of an epoch: its checkpoint is prepared, then it is committed (I1); or it is given up before, and filled again.

use super::SINK;
use super::epoch::Epoch;
use super::running::Running;
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::landing::AccountRows;
use crate::model::{EpochLedger, LoadCounts, PartitionId, StageCounts};
use crate::pipeline::epoch::{Checkpoint, FORMAT, InputPosition, Prepared, digest, roll_forward};
use crate::pipeline::events::Event;
use crate::pipeline::state;
use crate::pipeline::task::Task;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::Instrument;

/// An epoch whose checkpoint exists, on its way into the sink.
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) ledger: EpochLedger,
    pub(super) named: BTreeMap<PartitionId, LoadCounts>,
    pub(super) position: InputPosition,
    pub(super) commit: Task<Result<()>>,
}

impl Running {
    /// Ends the epoch: stages its output, writes its checkpoint, and starts its commit (I1).
    pub(super) async fn cut(&mut self) -> Result<()> {
        if self.epoch.since.is_none() {
            return Ok(());
        }
        let number = self.chain.next_number();
        let Some(mut ordered) = self.ordered.take() else { return Err(Error::bug("cut epoch", "stages still run")) };
        let fresh = Epoch::new(&self.leading, &ordered);
        let Epoch { mut ledger, refused, accounted, named, writer, output, rejects, .. } =
            std::mem::replace(&mut self.epoch, fresh);
        let output = match writer {
            Some(writer) => writer.finish().await?,
            None => output,
        };
        let quarantine = match rejects {
            Some(rejects) => rejects.finish().await?,
            None => None,
        };
        if let (Some(published), Some(rejects), true) =
            (&self.load.quarantine, &quarantine, on(Defect::QuarantineIsApart))
        {
            published.publish(rejects).await?;
        }
        if refused > 0 {
            ledger.stages.push(StageCounts {
                stage: SINK.to_owned(),
                input: ledger.written + refused,
                output: ledger.written,
                quarantined: refused,
                ..StageCounts::default()
            });
        }
        ledger.staged = output.as_ref().map_or(0, |o| o.records);
        let bytes = output.as_ref().map_or(0, |o| o.bytes);
        ledger.quarantined = quarantine.as_ref().map_or(0, |q| q.records);
        if let Some(enumeration) = &mut self.enumeration {
            enumeration.quarantined += ledger.quarantined;
        }
        if !on(Defect::LedgerIsNotChecked) {
            ledger.check().map_err(|e| e.with("shard", &self.load.shard).with("epoch", number))?;
        }
        let accounts = match &mut self.load.accounts {
            Some(accounts) if accounted.agree_with(&ledger) => accounts.save(&self.load.env, number).await?,
            Some(_) => {
                return Err(Error::bug("cut epoch", "the accounts of partitions and the ledger differ")
                    .with("shard", &self.load.shard)
                    .with("epoch", number)
                    .with("accounts", accounted));
            }
            None => AccountRows::default(),
        };
        let refs = self.newest.1.state.as_slice();
        let stages = self.leading.stages.iter_mut().chain(&mut ordered.stages);
        let state = match &self.load.state {
            Some(_) if on(Defect::StateIsNotSaved) => refs.to_vec(),
            Some(state) => state.save(stages, refs, number).await?,
            None => Vec::new(),
        };
        self.ordered = Some(ordered);
        // At most one uncommitted epoch: the one before must be known to be committed.
        if !on(Defect::TwoEpochsAreOpen) {
            self.settle().await?;
        }
        let mut input = self.position.clone();
        if on(Defect::PositionIsAhead) {
            self.in_flight.iter().for_each(|ahead| input.advance(ahead.fed.after.clone()));
        }
        let previous = self.newest.1.marked;
        let prepared = output.map(|o| Prepared { previous, digest: digest(&o.staged), staged: o.staged });
        let config = if on(Defect::ChangedSettingsAreForgotten) { &self.newest.1.config } else { &self.load.config };
        let checkpoint = Checkpoint {
            format: FORMAT.to_owned(),
            config: config.clone(),
            input,
            landing: self.landing.clone(),
            state,
            marked: if prepared.is_some() { Some(number) } else { previous },
            prepared,
            quarantine,
            ledger: ledger.clone(),
            accounts,
            enumeration: self.enumeration,
            abandoned: self.newest.1.abandoned.clone(),
        };
        if on(Defect::CommitsBeforeCheckpoint) {
            let (env, sink, quarantine) = (&self.load.env, self.load.sink.as_ref(), self.load.quarantine.as_ref());
            roll_forward(env, sink, quarantine, &self.owner, number, &checkpoint, &self.load.events).await?;
        }
        let span = tracing::debug_span!("append checkpoint", epoch = number);
        let written = self.chain.append(checkpoint.encode()?).instrument(span).await?;
        if written != number {
            return Err(Error::bug("write checkpoint", "another number than announced").with("number", written));
        }
        let (shard, records) = (self.load.shard.clone(), ledger.staged);
        self.load.events.send(Event::EpochPrepared { shard, epoch: number, records, bytes });
        let commit = {
            let (env, sink) = (self.load.env.clone(), Arc::clone(&self.load.sink));
            let (quarantine, owner) = (self.load.quarantine.clone(), self.owner.clone());
            let (checkpoint, events) = (checkpoint.clone(), self.load.events.clone());
            Task::spawn("commit epoch", async move {
                let quarantine = quarantine.as_ref();
                roll_forward(&env, sink.as_ref(), quarantine, &owner, number, &checkpoint, &events).await.map(drop)
            })
        };
        self.pending = Some(Pending { number, ledger, named, position: checkpoint.input.clone(), commit });
        self.newest = (number, checkpoint);
        Ok(())
    }

    /// Waits until the prepared epoch is committed.
    pub(super) async fn settle(&mut self) -> Result<()> {
        if self.pending.is_none() {
            return Ok(());
        }
        let committed = settled(&mut self.pending).await;
        let pending = self.pending.take();
        self.committed(pending, committed?).await
    }

    pub(super) async fn committed(&mut self, pending: Option<Pending>, result: Result<()>) -> Result<()> {
        result?;
        let Some(Pending { number, ledger, named, position, .. }) = pending else { return Ok(()) };
        self.load.events.loaded(named);
        self.load.events.send(Event::EpochCommitted { shard: self.load.shard.clone(), epoch: number, ledger });
        self.load.publish(&self.owner.incarnation, &position).await
    }

    /// Gives up what was staged since the last checkpoint, and goes on from there.
    pub(super) async fn go_back(&mut self) -> Result<()> {
        self.in_flight.clear();
        self.attempt += 1;
        let Some(mut ordered) = self.ordered.take() else { return Err(Error::bug("go back", "stages still run")) };
        let Checkpoint { state: refs, input: position, accounts: rows, .. } = self.newest.1.clone();
        if let Some(accounts) = &mut self.load.accounts {
            accounts.restore(self.chain.generation(), &rows);
        }
        self.epoch = Epoch::new(&self.leading, &ordered);
        let stages = self.leading.stages.iter_mut().chain(&mut ordered.stages);
        if !on(Defect::RetriesAreRepeats) {
            state::restore(self.load.state.as_ref(), stages, &refs).await?;
        }
        self.ordered = Some(ordered);
        self.feed.rewind(&position)?;
        self.position = position;
        self.enumeration = self.newest.1.enumeration_on(self.load.sink.demand());
        Ok(())
    }
}

/// Waits for the commit that is on its way; for ever if none is.
pub(super) async fn settled(pending: &mut Option<Pending>) -> Result<Result<()>> {
    match pending {
        Some(Pending { commit, .. }) => commit.await,
        None => std::future::pending().await,
    }
}
