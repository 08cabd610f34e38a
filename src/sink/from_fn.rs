use super::{AtLeastOnce, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Writer};
use crate::env::Env;
use crate::error::Result;
use crate::model::{Item, Reject, ShardKey};
use crate::source::ComponentConfig;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt::{self, Debug};
use std::sync::Arc;

type Deliver<I> = dyn Fn(I) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// Hands every item to a closure, before the epoch is committed: nothing is lost, but a failure repeats items.
///
/// It stages nothing and keeps no mark, so it only promises [`AtLeastOnce`]. Made by [`from_fn`].
pub struct FnSink<I>(Arc<Deliver<I>>);

/// A sink that awaits `deliver` for every item.
pub fn from_fn<I: Item, F, O>(deliver: F) -> FnSink<I>
where
    F: Fn(I) -> O + Send + Sync + 'static,
    O: Future<Output = Result<()>> + Send + 'static,
{
    FnSink(Arc::new(move |item| deliver(item).boxed()))
}

impl<I> Debug for FnSink<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnSink").finish_non_exhaustive()
    }
}

/// Hands on one epoch of a [`FnSink`].
pub struct FnWriter<I> {
    deliver: Arc<Deliver<I>>,
    records: u64,
    bytes: u64,
    must_commit: bool,
}

impl<I> Debug for FnWriter<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnWriter").field("records", &self.records).finish_non_exhaustive()
    }
}

#[async_trait]
impl<I: Item> Sink for FnSink<I> {
    type Item = I;
    type Staged = ();
    type Promise = AtLeastOnce;
    type Writer = FnWriter<I>;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, epoch: EpochContext) -> Result<FnWriter<I>> {
        Ok(FnWriter { deliver: Arc::clone(&self.0), records: 0, bytes: 0, must_commit: epoch.must_commit })
    }

    async fn commit(&self, _env: &Env, _request: CommitRequest<()>) -> Result<CommitOutcome> {
        Ok(CommitOutcome::Done)
    }

    async fn mark(&self, _shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(None)
    }

    async fn collect(&self, _shard: &ShardKey, _below_generation: u64, _keep: &[()]) -> Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl<I: Item> Writer for FnWriter<I> {
    type Item = I;
    type Staged = ();

    async fn write(&mut self, item: I) -> Result<Vec<Reject>> {
        let (records, bytes) = (item.records(), item.bytes());
        (self.deliver)(item).await?;
        self.records += records;
        self.bytes += bytes;
        Ok(Vec::new())
    }

    fn staged_bytes(&self) -> u64 {
        self.bytes
    }

    async fn finish(self) -> Result<Option<StagedOutput<()>>> {
        let Self { records, bytes, must_commit, .. } = self;
        Ok((must_commit || records > 0).then_some(StagedOutput { staged: (), records, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::model::{PipelineName, Rows};
    use std::sync::Mutex;

    #[tokio::test]
    async fn counts_what_was_delivered_and_passes_errors_on() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let sink = from_fn(move |rows: Rows<u32>| {
            let kept = Arc::clone(&kept);
            async move {
                if rows.0.contains(&13) {
                    return Err(Error::unavailable("deliver", "no"));
                }
                kept.lock().expect("not poisoned").extend(rows.0);
                Ok(())
            }
        });
        let shard = ShardKey { pipeline: PipelineName::new("p").expect("valid"), shard: 0 };
        let context = EpochContext::new(shard, 1, 1, Env::system());
        let mut writer = sink.open(context).await.expect("opens");
        writer.write(Rows(vec![1, 2])).await.expect("delivers");
        assert!(writer.write(Rows(vec![13])).await.is_err());
        let output = writer.finish().await.expect("finishes").expect("something was delivered");
        assert_eq!((output.records, seen.lock().expect("not poisoned").clone()), (2, vec![1, 2]));
    }
}
