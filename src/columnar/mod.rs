//! Arrow batches, JSON decoding, and the stages on batches: validation, deduplication, map, filter.
//!
//! The version of Arrow that the public signatures mean is re-exported as [`arrow`].

mod batch;
mod decode;
mod dedup;
mod path;
mod rows;
mod schema;
mod strings;
mod validate;

pub use batch::Batch;
pub use decode::{Decode, UnknownFields};
pub use dedup::{Dedup, Latest};
pub use rows::{filter, inspect, map};
pub use schema::{Coerce, Column, ColumnType, Columns, TimeUnit, Written};
pub use validate::{Limit, Validate};

pub use arrow;
