//! What tests of pipelines and of connectors stand on: time and randomness that the test owns, faults at any I/O point, and
//! the conformance checks of each contract. Comes with the feature `testkit`, which is exempt from semantic versioning.
//! `docs/testkit.md` goes by question.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::store::{ObjectPath, Store};
//! use landfall::testkit::{Faults, Mode, Plan};
//!
//! let disk = Store::memory();
//! let name = ObjectPath::parse("state/1")?;
//!
//! // The process dies after its second operation, before it has heard the answer.
//! let faults = Faults::of([Plan { at: 1, mode: Mode::AfterLostResponse }]);
//! let store = faults.store(&disk);
//! store.put(&name, "one".into()).await?;
//! assert!(Faults::is_crash(&store.put(&name, "two".into()).await.unwrap_err()));
//! assert!(store.get(&name, None).await.is_err());
//!
//! // What the next process finds.
//! assert_eq!(disk.get(&name, None).await?, Some("two".into()));
//! # Ok(())
//! # }
//! ```

mod clock;
mod conditionless;
pub mod conformance;
mod damage;
mod decoders;
mod disk;
mod entropy;
mod fault_checkpoints;
mod fault_proxy;
mod fault_sink;
mod fault_source;
mod fault_store;
mod faults;
#[cfg(feature = "http")]
pub mod http;
mod point;
#[cfg(test)]
mod rowed;
mod schedules;
mod secrets;
mod target;

pub use crate::defects::{Defect, SwitchedOn};
pub use clock::ManualClock;
pub use conditionless::Conditionless;
pub use damage::{Damage, DamagedStore};
pub use decoders::{Decoder, decoders};
pub use disk::{Lie, SimDisk};
pub use entropy::SeededEntropy;
pub use fault_checkpoints::FaultCheckpoints;
pub use fault_proxy::FaultProxy;
pub use fault_sink::{FaultSink, FaultWriter};
pub use fault_source::FaultSource;
pub use faults::Faults;
pub use point::{Effect, Mode, Plan, Point};
pub use schedules::{Outcome, Schedule, Schedules, Verdict, World, Wrong};
pub use secrets::secret_forms;
pub use target::Target;

use crate::env::Env;
use std::sync::Arc;

/// An environment in which one seed gives one history: a clock that moves by itself when everybody sleeps, randomness from
/// `seed`, CPU work inline.
pub fn test_env(seed: u64) -> Env {
    Env::deterministic(Arc::new(ManualClock::auto()), Arc::new(SeededEntropy::new(seed)))
}

#[cfg(test)]
mod tests;
