//! One read of one partition.

use super::listing::Listing;
use super::position::RestPosition;
use super::rest::Rest;
use crate::env::Env;
use crate::error::Result;
use crate::model::{Page, Partition, StopReason};
use crate::source::Emitter;
use tokio::sync::Mutex;

/// What all listings of one read have in common.
pub(super) struct Scope<'a> {
    pub(super) rest: &'a Rest,
    pub(super) env: &'a Env,
    pub(super) partition: &'a Partition,
    /// Each listing has an emitter of its own, forked from this one.
    pub(super) out: &'a Emitter<Page, RestPosition>,
    /// The position of the partition, which its listings move together. Locked across `emit`, so that positions are emitted in
    /// the order in which they arise; memory is reserved before, or listings would wait for each other.
    pub(super) position: Mutex<RestPosition>,
}

/// Reads `partition` from `from` on.
pub(super) async fn read(
    rest: &Rest,
    env: &Env,
    partition: &Partition,
    from: RestPosition,
    out: &Emitter<Page, RestPosition>,
) -> Result<StopReason> {
    let (since, kept) = (from.since.clone(), from.reading.first().cloned());
    let scope = Scope { rest, env, partition, out, position: Mutex::new(from) };
    Listing::begin(&scope, since, kept)?.run().await
}
