//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::{Rate, SharedRates, StoreRates};
use crate::env::Env;
use crate::error::Result;
use crate::store::{ObjectPath, Store};
use bytes::Bytes;
use std::time::Duration;

/// What is taken of a rate is read, whatever it says, and a take gets an answer.
pub(crate) async fn record(env: &Env, bytes: &[u8]) -> Result<()> {
    let store = Store::memory();
    let name = ObjectPath::parse("rates/a")?.join(&format!("{:020}", 5))?;
    store.put(&name, Bytes::copy_from_slice(bytes)).await?;
    let rates = [Rate::new(10, Duration::from_secs(60)), Rate::new(3, Duration::from_secs(1))];
    StoreRates::in_store(&store, "rates")?.take(env, "a", &rates, 1).await.map(drop)
}
