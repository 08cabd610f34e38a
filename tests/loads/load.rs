//! Epochs that are loaded by hand, one after the other, into whatever sink. Shared by the tests of sinks, each with its `crate::clock`.

use crate::clock;
use landfall::columnar::{Batch, Columns, Decode};
use landfall::env::Env;
use landfall::model::{Incarnation, Page, PartitionId, PipelineName, Reject, ShardKey, Timestamp};
use landfall::sink::{CommitOutcome, CommitRequest, Enumeration, EpochContext, Mark, Sink, StagedOutput, Writer};
use landfall::stage::{Output, Stage};
use landfall::{Error, Result};
use std::sync::Arc;

pub fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("orders").expect("a name"), shard: 0 }
}

/// JSON lines as a batch.
pub fn batch(columns: &Columns, lines: &str) -> Batch {
    let records: Vec<_> = lines.lines().filter(|line| !line.trim().is_empty()).collect();
    let body = format!("[{}]", records.join(","));
    let page = Page::new(PartitionId("all".into()), body, records.len() as u64, Timestamp::from_micros(1));
    let mut decode = Decode::pages().schema(columns.clone());
    let mut out = Output::new();
    decode.apply(page, &mut out).expect("decodes");
    let (mut batches, rejects, _) = out.into_parts();
    assert!(rejects.is_empty(), "{rejects:?}");
    batches.remove(0)
}

/// A load that goes on from epoch to epoch.
pub struct Load<K> {
    pub sink: Arc<K>,
    pub shard: ShardKey,
    pub columns: Columns,
    pub generation: u64,
    pub epoch: u64,
    pub previous: Option<u64>,
    pub enumeration: Option<u64>,
    pub clock: Env,
}

impl<K: Sink<Item = Batch>> Load<K> {
    pub fn new(sink: K, columns: Columns) -> Self {
        let (generation, epoch, previous, enumeration) = (1, 0, None, None);
        Self { sink: Arc::new(sink), shard: shard(), columns, generation, epoch, previous, enumeration, clock: clock() }
    }

    pub fn context(&self, whole: bool) -> EpochContext {
        let enumeration = self.enumeration(whole);
        let must_commit = enumeration.is_some_and(|e| e.whole);
        EpochContext {
            enumeration,
            must_commit,
            ..EpochContext::new(self.shard.clone(), self.generation, self.epoch, self.clock.clone())
        }
    }

    fn enumeration(&self, whole: bool) -> Option<Enumeration> {
        self.enumeration.map(|number| Enumeration { whole, ..Enumeration::begun(number) })
    }

    pub async fn open(&mut self, whole: bool) -> Result<K::Writer> {
        self.epoch += 1;
        self.sink.open(self.context(whole)).await
    }

    /// Stages lines of JSON; gives what was refused.
    pub async fn stage(&mut self, lines: &str) -> Result<(Option<StagedOutput<K::Staged>>, Vec<Reject>)> {
        let batch = batch(&self.columns, lines);
        let mut writer = self.open(false).await?;
        let rejects = writer.write(batch).await?;
        Ok((writer.finish().await?, rejects))
    }

    pub fn request(&self, staged: &K::Staged, whole: bool) -> CommitRequest<K::Staged> {
        let digest = format!("{:?}", serde_json::to_string(staged));
        let mark =
            Mark { incarnation: Incarnation("life".into()), generation: self.generation, epoch: self.epoch, digest };
        let enumeration = self.enumeration(whole);
        CommitRequest { enumeration, ..CommitRequest::new(self.shard.clone(), mark, self.previous, staged.clone()) }
    }

    pub async fn commit(&mut self, staged: &K::Staged, whole: bool) -> Result<CommitOutcome> {
        let outcome = self.sink.commit(&self.clock, self.request(staged, whole)).await?;
        self.previous = Some(self.epoch);
        Ok(outcome)
    }

    /// Loads lines of JSON as one epoch.
    pub async fn load(&mut self, lines: &str) -> Result<()> {
        let (output, rejects) = self.stage(lines).await?;
        assert!(rejects.is_empty(), "{rejects:?}");
        let output = output.ok_or_else(|| Error::bug("load", "nothing staged"))?;
        assert_eq!(self.commit(&output.staged, false).await?, CommitOutcome::Done);
        Ok(())
    }

    /// Makes the enumeration whole.
    pub async fn whole(&mut self) -> Result<()> {
        let writer = self.open(true).await?;
        let output = writer.finish().await?.expect("a whole enumeration is something");
        assert_eq!(self.commit(&output.staged, true).await?, CommitOutcome::Done);
        Ok(())
    }
}
