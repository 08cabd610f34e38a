//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::headers::{Learn, Reset};
use super::{Rate, SharedRates, StoreRates};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::Timestamp;
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

/// What headers say of a quota is no longer than a month, whatever they say. Each line is a header.
pub(crate) fn headers(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let header = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let written = [Reset::Auto, Reset::Seconds, Reset::Epoch, Reset::EpochMillis, Reset::Date];
    let ways = written.map(|reset| Learn::remaining("remaining").reset("reset", reset));
    let told: Vec<_> = ways.into_iter().chain([Learn::usual()]).flat_map(|learn| learn.read(now, &header)).collect();
    assert!(
        told.iter().flat_map(|told| told.reset).all(|reset| reset.wait <= Duration::from_secs(31 * 24 * 3_600)),
        "{told:?}"
    );
    if told.is_empty() { Err(Error::data("read headers", "they say nothing of a quota")) } else { Ok(()) }
}
