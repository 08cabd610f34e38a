//! Reading only what is new: a field of the records whose value grows, sent back as the lower bound of the next read.

mod bounds;
mod decimal;
mod format;
mod highest;
mod since;
mod value;

pub(super) use bounds::{Bounds, Sent};
pub(super) use decimal::Decimal;
pub use format::{CursorFormat, Unit};
pub(super) use highest::{Highest, Known, Order, highest};
pub use since::{CursorTooOld, Edge, RowOrder, Since, Without};
pub(super) use value::CursorValue;
#[cfg(any(test, feature = "testkit"))]
pub(super) use value::fuzzed;

#[cfg(test)]
mod tests;
