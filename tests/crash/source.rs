//! A source of which every request is a counted I/O point.

use crate::support::{PageNumber, Script};
use landfall::env::Env;
use landfall::model::{Page, Partition, StopReason};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::testkit::Faults;
use landfall::{Result, async_trait};

/// The scripted API over a connection of this process.
pub struct FaultySource {
    pub script: Script,
    pub faults: Faults,
}

#[async_trait]
impl Source for FaultySource {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        self.script.config()
    }

    async fn partitions(&self, env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        self.faults.read_point("list partitions", "api", async { Ok(()) }).await?;
        self.script.partitions(env, out).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        self.script.read_through(env, partition, from, out, Some(&self.faults)).await
    }
}
