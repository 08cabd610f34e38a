//! Arrow batches, JSON decoding, and the stages on batches: validation, deduplication, map, filter.
//!
//! The version of Arrow that the public signatures mean is re-exported as [`arrow`].
//!
//! ```
//! use landfall::columnar::{Columns, Decode};
//! use landfall::model::{Page, PartitionId, Timestamp};
//! use landfall::stage::{Output, Stage};
//!
//! let mut decode = Decode::pages().schema(Columns::new().int64("id"));
//! let page = Page::new(PartitionId("all".into()), r#"[{"id":1},{"id":"one"}]"#, 2, Timestamp::default());
//! let mut out = Output::new();
//! decode.apply(page, &mut out)?;
//! let (batches, rejects, _counts) = out.into_parts();
//! assert_eq!(batches[0].num_rows(), 1);
//! assert_eq!(&rejects[0].raw[..], br#"{"id":"one"}"#);
//! # Ok::<(), landfall::Error>(())
//! ```

mod batch;
mod decode;
mod dedup;
#[cfg(feature = "parquet")]
pub(crate) mod files;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod nested;
mod origin;
mod path;
mod rows;
mod schema;
#[cfg(any(feature = "adbc", feature = "postgres"))]
pub(crate) mod staging;
mod strings;
#[cfg(test)]
mod tests;
mod unnest;
mod validate;

pub use batch::Batch;
pub use decode::{Decode, UnfitValues, UnknownFields};
pub use dedup::{Dedup, Latest};
#[cfg(feature = "parquet")]
pub use files::Transform;
pub use nested::{is_json, write_json};
pub use origin::{LOAD_COLUMN, RECORD_COLUMN, SEGMENT_COLUMN, load_id, load_prefix};
pub use rows::{filter, inspect, map};
pub use schema::{Coerce, Column, ColumnType, Columns, TimeUnit, Written};
pub use unnest::{Unnest, UnnestChild};
pub use validate::{Limit, Validate, Within};

pub use arrow;
