//! Sinks of which something happens to the commits.

use futures::future::BoxFuture;
use landfall::env::Env;
use landfall::model::ShardKey;
use landfall::sink::{CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink};
use landfall::source::ComponentConfig;
use landfall::{Result, async_trait};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is about to be committed.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// How many commits were asked of this process before.
    pub number: u64,
    /// The epoch that it says is there.
    pub previous: Option<u64>,
    /// Whether it makes an enumeration whole.
    pub whole: bool,
}

type Hook = Arc<dyn Fn(Step) -> BoxFuture<'static, Result<Option<CommitOutcome>>> + Send + Sync>;

/// A sink of which each commit can be stopped before it happens, or answered in its place.
pub struct Hooked<K> {
    sink: K,
    hook: Hook,
    number: AtomicU64,
}

/// Calls `hook` before each commit of `sink`; what it gives is the answer, and the sink is not asked.
pub fn before_commit<K, F, R>(sink: K, hook: F) -> Hooked<K>
where
    F: Fn(Step) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Option<CommitOutcome>>> + Send + 'static,
{
    Hooked { sink, hook: Arc::new(move |step| Box::pin(hook(step))), number: AtomicU64::new(0) }
}

#[async_trait]
impl<K: Sink> Sink for Hooked<K> {
    type Item = K::Item;
    type Staged = K::Staged;
    type Promise = K::Promise;
    type Writer = K::Writer;

    fn config(&self) -> Result<ComponentConfig> {
        self.sink.config()
    }

    fn demand(&self) -> Demand {
        self.sink.demand()
    }

    async fn open(&self, epoch: EpochContext) -> Result<K::Writer> {
        self.sink.open(epoch).await
    }

    async fn commit(&self, env: &Env, request: CommitRequest<K::Staged>) -> Result<CommitOutcome> {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let whole = request.enumeration.is_some_and(|e| e.whole);
        match (self.hook)(Step { number, previous: request.previous, whole }).await? {
            Some(answer) => Ok(answer),
            None => self.sink.commit(env, request).await,
        }
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.sink.mark(shard).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[K::Staged]) -> Result<u64> {
        self.sink.collect(shard, below_generation, keep).await
    }
}
