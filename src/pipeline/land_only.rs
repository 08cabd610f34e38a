//! A pipeline that lands and loads nothing: others load what it lands.

use super::builder::{NoSink, PipelineBuilder};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Item, Page, Reject, ShardKey};
use crate::sink::{
    CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Transactional, Writer,
};
use crate::source::{ComponentConfig, Source};
use crate::stage::{Output, from_fn};
use async_trait::async_trait;

/// In the place of a sink: nothing comes to it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LandOnly;

impl<S: Source<Item = Page>> PipelineBuilder<S, Page, NoSink> {
    /// Lands pages and loads nothing: others do, by [`landing_of`](PipelineBuilder::landing_of). No sink can then keep pages
    /// from being landed. Its ledger counts all records as filtered.
    pub fn land_only(self) -> PipelineBuilder<S, Page, LandOnly> {
        let pass_over = |page: Page, out: &mut Output<Page>| {
            out.filtered(page.records());
            Ok(())
        };
        self.stage(from_fn("land only", pass_over)).sink(LandOnly)
    }
}

fn nothing_comes() -> Error {
    Error::bug("load nothing", "something is to be loaded")
}

#[async_trait]
impl Sink for LandOnly {
    type Item = Page;
    type Staged = ();
    type Promise = Transactional;
    type Writer = Self;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none().with_identity("land only".into()))
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, _epoch: EpochContext) -> Result<Self> {
        Err(nothing_comes())
    }

    async fn commit(&self, _env: &Env, _request: CommitRequest<()>) -> Result<CommitOutcome> {
        Err(nothing_comes())
    }

    async fn mark(&self, _shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(None)
    }

    async fn collect(&self, _shard: &ShardKey, _below_generation: u64, _keep: &[()]) -> Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl Writer for LandOnly {
    type Item = Page;
    type Staged = ();

    async fn write(&mut self, _item: Page) -> Result<Vec<Reject>> {
        Err(nothing_comes())
    }

    fn staged_bytes(&self) -> u64 {
        0
    }

    async fn finish(self) -> Result<Option<StagedOutput<()>>> {
        Err(nothing_comes())
    }
}
