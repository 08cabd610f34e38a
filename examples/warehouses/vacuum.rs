//! What nobody needs is deleted, as it would be two hours later: nothing younger than an hour ever is.

use crate::target::Target;
use futures::future::BoxFuture;
use landfall::env::{Clock, Entropy, Env};
use landfall::model::Timestamp;
use landfall::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

const AGE: Duration = Duration::from_secs(3600);

pub(crate) async fn vacuum(target: Target) -> Result<()> {
    let later = Later(Env::system());
    let env = Env::deterministic(Arc::new(later.clone()), Arc::new(later));
    let vacuumed = match target {
        Target::Delta(table) => table.vacuum(&env, AGE, false).await?,
        Target::Parquet(dataset) => dataset.vacuum(&env, AGE, false).await?,
        Target::Postgres(..) | Target::Adbc(_) => {
            return Err(Error::config("vacuum", "a database does that by itself"));
        }
    };
    println!("{vacuumed}");
    Ok(())
}

/// The system's clock, two hours ahead.
#[derive(Clone, Debug)]
struct Later(Env);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        self.0.now().saturating_add(2 * AGE)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let env = self.0.clone();
        Box::pin(async move { env.sleep(duration).await })
    }
}

impl Entropy for Later {
    fn next_u64(&self) -> u64 {
        self.0.random()
    }
}
