//! Where the records of a response lie, whatever it is written in.
//!
//! ```
//! use landfall::records::RecordsPath;
//!
//! let body = b"{\"id\":1}\n{\"id\":2}\n";
//! let spans = RecordsPath::parse("ndjson")?.spans(body, None)?;
//! assert_eq!(spans[1].of(body), Some(&b"{\"id\":2}"[..]));
//! # Ok::<(), landfall::Error>(())
//! ```

mod csv;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod path;
mod splitter;
mod text;
mod xml;

pub use csv::Csv;
pub use path::RecordsPath;
pub use splitter::Splitter;
#[cfg(feature = "arrow")]
pub(crate) use text::{TextRecords, Texts};
