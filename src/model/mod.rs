//! The vocabulary: plain values, no I/O.

mod item;
mod ledger;
mod page;
mod partition;
mod position;
mod reject;
mod shard;
mod stop_reason;
mod timestamp;

pub use item::{Item, Rows};
pub use ledger::{EpochLedger, StageCounts};
pub use page::{Origin, Page, Part, Span};
pub use partition::{Partition, PartitionId};
pub use position::{Position, PositionValue, Validity};
pub use reject::Reject;
pub use shard::{Incarnation, LandingPosition, PipelineName, ShardKey};
pub use stop_reason::{Proof, StopReason};
pub use timestamp::Timestamp;
