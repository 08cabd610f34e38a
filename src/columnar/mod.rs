//! Arrow batches, JSON decoding, and the stages on batches: validation, deduplication, map, filter.
//!
//! The version of Arrow that the public signatures mean is re-exported as [`arrow`].

mod batch;
mod decode;
mod path;
mod schema;

pub use batch::Batch;
pub use decode::{Decode, UnknownFields};
pub use schema::{Coerce, Column, ColumnType, Columns, TimeUnit, Written};

pub use arrow;
