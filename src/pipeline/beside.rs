//! Runs beside each other: one lands, others load what it lands while it comes.

use super::handoff::Tail;
use crate::env::watch;
use crate::model::PipelineName;

/// The tail of the landing of a shard, once its writer is open.
type Opened = Option<watch::Receiver<Tail>>;

/// What a run has to do with those beside it. By default nothing.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// The pipelines that load what this run lands.
    pub loads: Vec<PipelineName>,
    /// For each shard, where its tail is told. Gone when the run has ended.
    tells: Vec<watch::Sender<Opened>>,
    /// For each shard, where the tail of what it loads is told.
    follows: Vec<watch::Receiver<Opened>>,
}

impl Beside {
    /// A run over `shards` shards that lands, and those of `loads`, in this order.
    pub(super) fn group(shards: u32, loads: Vec<PipelineName>) -> (Self, Vec<Self>) {
        let (tells, seen): (Vec<_>, Vec<_>) = (0..shards).map(|_| watch::channel(None)).unzip();
        let following = loads.iter().map(|_| Self { follows: seen.clone(), ..Self::default() }).collect();
        (Self { loads, tells, follows: Vec::new() }, following)
    }

    /// Tells the others that a shard lands now, and how far it has come.
    pub(super) fn tell(&self, shard: u32, tail: &watch::Receiver<Tail>) {
        if let Some(tells) = self.tells.get(shard as usize) {
            tells.send_replace(Some(tail.clone()));
        }
    }

    /// Waits until a shard of the run that lands is open. `None` if there is none, or if it has ended before.
    pub(super) async fn tail(&self, shard: u32) -> Option<watch::Receiver<Tail>> {
        let mut told = self.follows.get(shard as usize)?.clone();
        told.wait_for(Option::is_some).await.ok()?;
        told.borrow().clone()
    }
}
