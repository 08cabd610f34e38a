use super::window::Rate;
use crate::env::Env;
use crate::error::Result;
use async_trait::async_trait;
use std::fmt::Debug;
use std::time::Duration;

/// What came of asking for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It was taken: make the call.
    Taken,
    /// There is none yet; ask again after this time.
    Wait(Duration),
}

/// Where processes that use one API account for their calls together.
///
/// # Guarantees (of an implementation)
/// 1. *Together within the rates*: all weights that were [`Grant::Taken`] for one name, by any number of instances, stay
///    within each of `rates`. The clocks of the machines decide when a window ends; what they differ by is added to it.
/// 2. *Never twice*: an answer that is lost costs room at most, and is never taken for room that there is not.
/// 3. *Progress*: while there is room, some caller gets it.
///
/// # Requires
/// Every instance gives the same rates for a name, and no `weight` above one of their limits.
///
/// # Cancellation
/// May be dropped at any await; the room may then have been taken.
///
/// # Errors
/// `Unavailable` (transient) if the accounting cannot be reached: the call is not made.
#[async_trait]
pub trait SharedRates: Send + Sync + Debug + 'static {
    /// Takes `weight` of `name` if all `rates` have room for it now.
    async fn take(&self, env: &Env, name: &str, rates: &[Rate], weight: u32) -> Result<Grant>;
}
