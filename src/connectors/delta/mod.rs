//! Tables of Delta Lake: epochs become visible as versions of the log, which hold the marks too.
//!
//! The log is read and written here, by create-if-absent of the next version: it is the commit of the sink, and rests on nothing
//! but [`Store`](crate::store::Store).
//!
//! ```
//! use landfall::connectors::delta::DeltaTable;
//! use landfall::store::Store;
//!
//! let orders = DeltaTable::in_store(&Store::memory(), "lake/orders")?;
//! // `.sink(orders)` in a pipeline
//! # drop(orders);
//! # Ok::<(), landfall::Error>(())
//! ```

mod actions;
mod buckets;
mod checkpoint;
mod children;
mod commit;
mod compact;
mod enumerate;
mod expire;
mod features;
mod file;
mod fit;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod hash;
mod keys;
mod ledger;
mod log;
mod maintain;
mod mark;
mod merge;
mod own;
mod pending;
mod ranges;
mod reader;
mod retention;
mod rewrite;
mod schema;
mod settings;
mod staged;
mod stats;
mod sweep;
mod table;
mod vacuum;
mod versions;
mod writer;

pub use expire::ExpiredLog;
pub use staged::{DeltaFile, DeltaStaged};
pub use table::DeltaTable;
pub use writer::DeltaWriter;

#[cfg(test)]
mod tests;
