//! Sources that do not behave.

use crate::support::{PageNumber, Script};
use landfall::env::Env;
use landfall::model::{Page, Partition, StopReason};
use landfall::source::{ComponentConfig, Emitter, Source};
use landfall::{Error, Result, async_trait};

/// What becomes of a read, or of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// After its pages it says that it was stopped, and it was not.
    SaysStopped,
    /// After its pages the server says nothing more.
    Hangs,
    /// Not even its partitions are told.
    HangsAtStart,
}

/// Gives the pages of a script, and then is odd.
#[derive(Clone, Debug)]
pub struct Odd(pub Script, pub Oddity);

#[async_trait]
impl Source for Odd {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> ComponentConfig {
        self.0.config()
    }

    async fn partitions(&self, env: &Env) -> Result<Vec<Partition>> {
        if self.1 == Oddity::HangsAtStart {
            std::future::pending::<()>().await;
        }
        self.0.partitions(env).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        let read = self.0.read(env, partition, from, out).await?;
        match self.1 {
            Oddity::SaysStopped => Err(Error::cancelled("wait for a slot")),
            Oddity::Hangs => std::future::pending().await,
            Oddity::HangsAtStart => Ok(read),
        }
    }
}
