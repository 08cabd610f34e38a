//! A typed step between source and sink: the contract of a stage.
//!
//! ```
//! use landfall::model::Rows;
//! use landfall::stage::{Output, Stage, from_fn};
//!
//! let mut odd = from_fn("odd", |rows: Rows<u64>, out: &mut Output<Rows<u64>>| {
//!     let (odd, even): (Vec<u64>, Vec<u64>) = rows.0.into_iter().partition(|n| n % 2 == 1);
//!     out.filtered(even.len() as u64); // every record is accounted for
//!     out.emit(Rows(odd));
//!     Ok(())
//! });
//! let mut out = Output::new();
//! odd.apply(Rows(vec![1, 2, 3]), &mut out)?;
//! let (items, _rejects, _counts) = out.into_parts();
//! assert_eq!(items[0].0, [1, 3]);
//! # Ok::<(), landfall::Error>(())
//! ```

mod from_fn;
mod output;

pub use from_fn::{FnStage, from_fn};
pub use output::Output;

use crate::error::Result;
use crate::model::Item;
use crate::source::ComponentConfig;
use bytes::Bytes;

/// A typed step `In -> Out`: decode, validate, deduplicate, map, filter.
///
/// # Guarantees (of an implementation)
/// 1. *Deterministic*: the same items in the same order give the same output, whatever the time and however the items
///    are cut into batches.
/// 2. *Accounted*: every record that goes in comes out, or is counted as filtered, deduplicated or rejected in
///    [`Output`]; records that it makes are counted as fanned out. The epoch does not commit otherwise.
/// 3. *Independent copies*: [`fork`](Stage::fork) gives a copy only if the output for an item does not depend on any
///    other item; copies run side by side, and the runtime keeps the order.
/// 4. *State*: a stage that remembers gives its memory through [`state`](Stage::state), and after a restore behaves as
///    it did when the state was taken.
///
/// # Requires
/// The runtime calls `apply` in the order of the landing, except on forked copies.
///
/// # Errors
/// An error or a panic stops the shard before its epoch commits. A bad record is not an error: reject it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a stage here",
    label = "it is not a `Stage` that takes what the step before it gives",
    note = "a stage's `In` must be the `Out` of the stage before it (or the `Item` of the source)"
)]
pub trait Stage: Send + 'static {
    /// What it takes.
    type In: Item;
    /// What it gives.
    type Out: Item;

    /// Its name in ledger, errors and metrics; unique in a pipeline.
    fn name(&self) -> &str;

    /// What it is configured to do. Checks everything that needs no I/O: `build()` asks, so that what is wrong is known
    /// before anything runs.
    ///
    /// # Errors
    /// `Config`, saying what is wrong and what to do.
    fn config(&self) -> Result<ComponentConfig>;

    /// An independent copy to run beside this one, or `None` if the order of items matters to it.
    fn fork(&self) -> Option<Self>
    where
        Self: Sized;

    /// Its memory, if it has one.
    fn state(&mut self) -> Option<&mut dyn StageState>;

    /// Works on one item. Runs on a CPU thread; must not block on I/O.
    fn apply(&mut self, item: Self::In, out: &mut Output<Self::Out>) -> Result<()>;
}

/// The memory of a stage, kept by reference: one base and the deltas since.
pub trait StageState {
    /// What was learned since the last call of `delta` or `base` (or since `restore`); `None` if nothing.
    /// The same history gives the same bytes.
    fn delta(&mut self) -> Result<Option<Bytes>>;

    /// Everything that is known now, to replace all parts before it.
    fn base(&mut self) -> Result<Bytes>;

    /// Forgets everything, then takes `parts` in order: a base or a delta first, then deltas. Parts are verified before.
    ///
    /// # Errors
    /// `Corrupt` if a part cannot be read.
    fn restore(&mut self, parts: Vec<Bytes>) -> Result<()>;
}
