use super::Faults;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Partition, StopReason};
use crate::source::{ComponentConfig, Emitter, Listing, Source};
use async_trait::async_trait;
use futures::future::join;
use tokio::sync::mpsc;

/// A source of which each listing, the beginning of each read, and all that a read gives, item by item, are I/O points of a
/// [`Faults`]. Requests that give nothing are the source's own affair: let it pass [`Faults::read_point`] for each.
#[derive(Clone, Debug)]
pub struct FaultSource<S> {
    source: S,
    faults: Faults,
}

impl<S> FaultSource<S> {
    /// `source` as the process of `faults` reaches it.
    pub fn new(source: S, faults: &Faults) -> Self {
        Self { source, faults: faults.clone() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Source> Source for FaultSource<S> {
    type Item = S::Item;
    type Position = S::Position;

    fn config(&self) -> Result<ComponentConfig> {
        self.source.config()
    }

    async fn partitions(&self, env: &Env, out: &mut Listing<S::Position>) -> Result<()> {
        self.faults.read_point("list partitions", "source", async { Ok(()) }).await?;
        self.source.partitions(env, out).await
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<S::Position>,
        out: &mut Emitter<S::Item, S::Position>,
    ) -> Result<StopReason> {
        self.faults.read_point("begin to read", &partition.id, async { Ok(()) }).await?;
        let (queue, mut given) = mpsc::channel(1);
        let mut into = out.fork_to(queue);
        let reading = async move { self.source.read(env, partition, from, &mut into).await };
        // Dropped when it fails: then nobody takes what the read gives, and it ends.
        let passing = async move {
            while let Some(emission) = given.recv().await {
                self.faults.read_point("read on", &partition.id, async { Ok(()) }).await?;
                out.pass_on(emission).await?;
            }
            Ok::<(), Error>(())
        };
        let (ended, passed) = join(reading, passing).await;
        passed.and(ended)
    }
}
