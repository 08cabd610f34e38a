//! Where data comes from: the contract of a source.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::env::Env;
//! use landfall::source::{IterSource, list_partitions};
//!
//! let numbers = IterSource::new(1..=10_u64).with_partition("more", [11, 12]);
//! let partitions = list_partitions(&numbers, &Env::system()).await?;
//! assert_eq!(partitions.len(), 2);
//! # Ok(())
//! # }
//! ```

mod emitter;
mod iter;
mod listing;
mod traffic;

pub use emitter::{Emission, Emitter, Gate, Reservation};
pub(crate) use emitter::{Said, stopped};
pub use iter::{IterSource, RowsRead};
pub use listing::{Listed, Listing, PositionLookup, list, list_partitions};
pub use traffic::{Retry, Traffic, TrafficCounts};

use crate::env::Env;
use crate::error::Result;
use crate::model::{Item, Partition, Position, StopReason};
use async_trait::async_trait;

/// Tells what a component is configured to do, so that a change is recorded in the checkpoint chain or refused.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ComponentConfig {
    /// What gives identity: dedup key, partitioning, cursor field. A change is refused without a migration.
    pub identity: serde_json::Value,
    /// Everything else that changes what comes out. A change is recorded. Never a secret.
    pub settings: serde_json::Value,
}

impl ComponentConfig {
    /// A configuration without anything to record.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets what gives identity.
    #[must_use]
    pub fn with_identity(mut self, identity: serde_json::Value) -> Self {
        self.identity = identity;
        self
    }

    /// Sets what else is recorded.
    #[must_use]
    pub fn with_settings(mut self, settings: serde_json::Value) -> Self {
        self.settings = settings;
        self
    }
}

/// Where data comes from: enumerates partitions, and reads one from a position on.
///
/// # Guarantees (of an implementation)
/// 1. *Stable ids*: the same slice of the source has the same partition id in every run.
/// 2. *Position after*: the position emitted with an item lies after that item and before the next one. Reading from
///    it gives the rest of the partition: nothing is skipped; what is repeated is removed by a dedup stage. So it is with a
///    fence ([`Listing::advance`]): listing from its position gives every partition that was not listed before it.
/// 3. *Proof of the end*: `read` returns [`StopReason::Exhausted`] only with proof. Evidence that conflicts is an error
///    of kind `Incomplete`.
/// 4. *Whole responses*: an item is emitted only if it is known to be whole, or as numbered [`Part`](crate::model::Part)s.
/// 5. *No sharing*: state of one read belongs to that call; reads of different partitions run at the same time.
/// 6. *Secrets* appear in no partition, item, position, coverage, error or log, in no form that gives them back.
///
/// # Requires
/// The runtime calls `read` at most once at a time for a partition, and `partitions` once in a run, at the same time as reads.
///
/// # Cancellation
/// Both may be dropped at any await. `read` should return [`StopReason::Cancelled`] soon after
/// [`Emitter::is_cancelled`] turns true; `emit` then fails with kind `Cancelled`, which may simply be passed on.
///
/// # Errors and retries
/// An implementation retries transient faults itself, within its own budget. An error ends the partition; others go on.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the source here",
    label = "it does not implement `Source`",
    note = "implement `landfall::source::Source` for it, or use a built-in source such as `Rest` or `IterSource`"
)]
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// What it emits: [`Page`](crate::model::Page)s if it is to be landed.
    type Item: Item;
    /// Where a partition stands.
    type Position: Position;

    /// What it is configured to do. Checks everything that needs no I/O: `build()` asks, so that what is wrong is known
    /// before anything runs.
    ///
    /// # Errors
    /// `Config`, saying what is wrong and what to do.
    fn config(&self) -> Result<ComponentConfig>;

    /// Lists the partitions that there are now into `out`, one by one, and says with `Ok` that these are all. One that is listed
    /// again is passed over.
    ///
    /// # Errors
    /// An error ends the listing, not the reads under way; the run fails with it, and is not complete.
    async fn partitions(&self, env: &Env, out: &mut Listing<Self::Position>) -> Result<()>;

    /// Reads `partition` from `from` on (from its beginning if `None`) into `out`.
    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        from: Option<Self::Position>,
        out: &mut Emitter<Self::Item, Self::Position>,
    ) -> Result<StopReason>;
}

/// What `Pipeline::source` takes: every [`Source`], and descriptions of one (such as a `RestBuilder`), whose check is left to
/// the pipeline's `build()`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the source here",
    label = "it does not implement `Source`",
    note = "implement `landfall::source::Source` for it, or use a built-in source such as `Rest` or `IterSource`"
)]
pub trait IntoSource {
    /// The source that comes of it.
    type Source: Source;

    /// Makes the source. Does no I/O.
    ///
    /// # Errors
    /// `Config`, saying what is wrong with the description.
    fn into_source(self) -> Result<Self::Source>;
}

impl<S: Source> IntoSource for S {
    type Source = S;

    fn into_source(self) -> Result<S> {
        Ok(self)
    }
}
