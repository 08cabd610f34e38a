//! The clock and the randomness of the machine, with all work where it is asked for: calls of the system come in one order, since no other
//! thread makes any.

use futures::future::BoxFuture;
use landfall::Result;
use landfall::connectors::postgres::Postgres;
use landfall::env::{Clock, Entropy, Env};
use landfall::model::Timestamp;
use landfall::store::{LocalStore, Store};
use std::sync::Arc;
use std::time::Duration;

/// An environment without threads of its own, whose time of day is `ahead`.
pub(crate) fn one_thread(ahead: Duration) -> Env {
    let machine = Machine { env: Env::system(), ahead };
    Env::deterministic(Arc::new(machine.clone()), Arc::new(machine))
}

/// The store at a place; a folder is worked on in `env`.
pub(crate) fn store(place: &str, env: &Env) -> Result<Store> {
    if place.contains("://") { Store::from_uri(place) } else { Ok(Store::new(LocalStore::open_with(place, env)?)) }
}

/// The database of `WAREHOUSE_URL`; while it is away it is asked again for `patience`.
pub(crate) fn database(env: &Env, patience: Option<Duration>) -> Result<Postgres> {
    let database = Postgres::from_env("WAREHOUSE_URL")?.env(env.clone());
    Ok(patience.into_iter().fold(database, Postgres::retry_for))
}

#[derive(Clone, Debug)]
struct Machine {
    env: Env,
    ahead: Duration,
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        self.env.now().saturating_add(self.ahead)
    }

    fn monotonic(&self) -> Duration {
        self.env.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let env = self.env.clone();
        Box::pin(async move { env.sleep(duration).await })
    }
}

impl Entropy for Machine {
    fn next_u64(&self) -> u64 {
        self.env.random()
    }
}
