//! The epoch that is being filled: rows go to the sink, rejects to the quarantine, counts to the accounts.

use super::SINK;
use super::running::Running;
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::model::{EpochLedger, LandingPosition, LoadCounts, PartitionId, Reject, StageCounts};
use crate::pipeline::epoch::InputPosition;
use crate::pipeline::erased::AnyWriter;
use crate::pipeline::events::MOST_NAMED;
use crate::pipeline::feed::PageOf;
use crate::pipeline::program::{Outcome, Program};
use crate::sink::{EpochContext, QuarantineWriter, StagedOutput};
use std::collections::BTreeMap;
use std::time::Duration;

/// Segments without records after which the position is recorded all the same; and owners without any, whose fences lie in the
/// chain.
const FAR: u64 = 64;

/// The epoch that is being filled.
pub(super) struct Epoch {
    pub(super) ledger: EpochLedger,
    /// The sum of what was added to the accounts of partitions.
    pub(super) accounted: LoadCounts,
    /// The same by partition, of those that the report may name.
    pub(super) named: BTreeMap<PartitionId, LoadCounts>,
    /// Records that the sink refused.
    pub(super) refused: u64,
    pub(super) bytes: u64,
    /// When its first input came; `None` while there was none.
    pub(super) since: Option<Duration>,
    pub(super) may_cut: bool,
    /// Where it could have been cut last, of what is in the landing; `None` while there was nothing to commit.
    pub(super) may_cut_at: Option<LandingPosition>,
    pub(super) writer: Option<Box<dyn AnyWriter>>,
    /// What is staged already, in the place of a writer.
    pub(super) output: Option<StagedOutput<serde_json::Value>>,
    pub(super) rejects: Option<QuarantineWriter>,
}

impl Epoch {
    pub(super) fn new(leading: &Program, ordered: &Program) -> Self {
        let stages = leading.stages.iter().chain(&ordered.stages);
        let stages = stages.map(|s| StageCounts { stage: s.name().to_owned(), ..StageCounts::default() }).collect();
        let ledger = EpochLedger { stages, ..EpochLedger::default() };
        let (accounted, named) = Default::default();
        let (since, may_cut_at, writer, output, rejects) = Default::default();
        let (refused, bytes, may_cut) = (0, 0, true);
        Self { ledger, accounted, named, refused, bytes, since, may_cut, may_cut_at, writer, output, rejects }
    }
}

impl Running {
    /// Gives what became of the records of each page.
    pub(super) async fn write(&mut self, outcome: Outcome, mut pages: Vec<LoadCounts>) -> Result<Vec<LoadCounts>> {
        for counts in &outcome.counts {
            self.epoch.ledger.add(&EpochLedger { stages: vec![counts.clone()], ..EpochLedger::default() });
        }
        for (stage, reject) in outcome.rejects {
            self.reject(Some(stage), reject).await?;
        }
        for (page, item) in outcome.items {
            let records = item.records();
            if records == 0 {
                continue;
            }
            if self.epoch.writer.is_none() {
                self.epoch.writer = Some(self.load.sink.open(self.context()).await?);
            }
            let Some(writer) = &mut self.epoch.writer else { continue };
            let rejects = writer.write(item).await?;
            let refused = rejects.len() as u64;
            let written = records.checked_sub(refused).ok_or_else(|| {
                Error::bug("write", "the sink refused more records than it was given")
                    .with("records", records)
                    .with("refused", refused)
            })?;
            self.epoch.ledger.written += written;
            self.epoch.refused += refused;
            if let Some(page) = pages.get_mut(page) {
                page.add(&LoadCounts { loaded: written, quarantined: refused, ..LoadCounts::default() });
            }
            for reject in rejects {
                self.reject(None, reject).await?;
            }
        }
        Ok(pages)
    }

    /// Adds to the accounts of partitions what became of the records of some pages, which must balance one by one.
    pub(super) async fn account(&mut self, pages: &[PageOf], made: Vec<LoadCounts>) -> Result<()> {
        let Some(accounts) = &mut self.load.accounts else { return Ok(()) };
        for (page, made) in pages.iter().zip(made) {
            let counts = LoadCounts { read: page.records, superseded: page.superseded, ..made };
            if !counts.balances() {
                return Err(Error::bug("load", "records of a page are not accounted for")
                    .with("partition", &page.partition)
                    .with("counts", counts));
            }
            self.epoch.accounted.add(&counts);
            if self.named.len() < MOST_NAMED && !self.named.contains(&page.partition) {
                self.named.insert(page.partition.clone());
            }
            if self.named.contains(&page.partition) {
                self.epoch.named.entry(page.partition.clone()).or_default().add(&counts);
            }
            accounts.add(&page.partition, page.window.as_ref(), &counts)?;
        }
        accounts.make_room(&self.load.env, self.chain.next_number()).await
    }

    /// Takes up a record that stage number `stage` refused; `None` is the sink.
    async fn reject(&mut self, stage: Option<usize>, reject: Reject) -> Result<()> {
        let stage = stage.and_then(|n| self.epoch.ledger.stages.get(n)).map_or(SINK, |s| s.stage.as_str());
        if on(Defect::RejectsVanish) {
            return Ok(());
        }
        let Some(quarantine) = &self.load.quarantine else {
            return Err(Error::data("quarantine record", "a record was rejected, and there is no quarantine")
                .with("stage", stage)
                .with("code", reject.code)
                .with("reason", reject.reason)
                .with_hint("give the pipeline a quarantine; the record is landed and nothing is lost"));
        };
        if self.epoch.rejects.is_none() {
            self.epoch.rejects = Some(quarantine.open(&self.context(), &self.owner.incarnation)?);
        }
        if let Some(rejects) = &mut self.epoch.rejects {
            rejects.add(stage, reject).await?;
        }
        Ok(())
    }

    pub(super) fn context(&self) -> EpochContext {
        EpochContext {
            shard: self.load.shard.clone(),
            generation: self.owner.generation,
            epoch: self.chain.next_number(),
            attempt: self.attempt,
            enumeration: self.enumeration,
            must_commit: self.enumeration.is_some_and(|e| e.whole),
            env: self.load.env.clone(),
        }
    }

    /// Whether an epoch is worth it without records: each start reads what lies between in the landing, and nothing after the newest
    /// checkpoint is ever collected. An enumeration that is refused is not left behind.
    pub(super) fn is_far(&self) -> bool {
        let segments = match (&self.position, &self.newest.1.input) {
            (InputPosition::Landing(now), InputPosition::Landing(then)) => now.segment.saturating_sub(then.segment),
            _ => 0,
        };
        let fences = self.chain.next_number().saturating_sub(self.newest.0 + 1);
        segments.max(fences) >= FAR && self.refused.is_none()
    }

    pub(super) fn is_full(&self) -> bool {
        let settings = &self.load.settings;
        let staged = self.epoch.writer.as_ref().map_or(0, |w| w.staged_bytes());
        self.epoch.may_cut
            && (self.epoch.bytes.max(staged) >= settings.epoch_bytes
                || self.epoch.ledger.read >= settings.epoch_records)
    }
}
