use super::Faults;
use crate::env::Env;
use crate::error::Result;
use crate::model::{Partition, StopReason};
use crate::source::{ComponentConfig, Emitter, Listing, Source};
use async_trait::async_trait;

/// A source of which each listing and each read begins with an I/O point of a [`Faults`]. What happens within a read is the
/// source's own affair: let it pass [`Faults::point`] for each request.
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
        self.source.read(env, partition, from, out).await
    }
}
