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
mod checkpoint;
mod enumerate;
mod features;
mod file;
mod keys;
mod log;
mod maintain;
mod mark;
mod merge;
mod pending;
mod reader;
mod rewrite;
mod schema;
mod stats;
mod table;
mod writer;

pub use table::{DeltaFile, DeltaStaged, DeltaTable};
pub use writer::DeltaWriter;

#[cfg(test)]
mod tests;
