//! The vocabulary: plain values, no I/O.
//!
//! ```
//! use landfall::model::{EpochLedger, StageCounts};
//!
//! let decode = StageCounts { stage: "decode".into(), input: 10, output: 9, quarantined: 1, ..StageCounts::default() };
//! let mut ledger =
//!     EpochLedger { read: 10, stages: vec![decode], written: 9, staged: 9, quarantined: 1, ..EpochLedger::default() };
//! assert!(ledger.check().is_ok());
//! ledger.staged -= 1; // a record is lost
//! assert!(ledger.check().is_err());
//! ```

mod account;
mod coverage;
mod item;
mod ledger;
mod maintenance;
mod page;
mod partition;
mod position;
mod reject;
mod shard;
mod stop_reason;
mod timestamp;

pub use account::{Account, LoadCounts};
pub use coverage::{ContentHash, Coverage, Drift, Tally, Window};
pub use item::{Item, Rows};
pub use ledger::{EpochLedger, StageCounts};
pub use maintenance::{Compacted, Deleted, Kept, Vacuumed, Why};
pub use page::{Origin, Page, Part, Span};
pub use partition::{Partition, PartitionId};
pub use position::{Position, PositionValue, Validity};
pub use reject::Reject;
pub use shard::{Incarnation, LandingPosition, PipelineName, ShardKey};
pub use stop_reason::{Proof, StopReason};
pub use timestamp::Timestamp;
