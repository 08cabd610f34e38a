//! Composes sources, stages and sinks into a pipeline, and runs it.
//!
//! ```
//! use landfall::checkpoint::MemoryCheckpoints;
//! use landfall::model::Rows;
//! use landfall::pipeline::Pipeline;
//! use landfall::sink::{MemorySink, MemoryTable};
//! use landfall::source::IterSource;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let table = MemoryTable::<Rows<u64>>::default();
//! let numbers = Pipeline::named("numbers")
//!     .source(IterSource::new(1..=10_u64))
//!     .sink(MemorySink::new(&table))
//!     .checkpoints(MemoryCheckpoints::default())
//!     .build()?;
//! let report = numbers.run().await?;
//! assert_eq!(report.ledger.staged, 10);
//! # Ok::<(), landfall::Error>(()) }).unwrap();
//! ```

mod abandon;
mod abandoned;
mod accounts;
mod beside;
mod builder;
mod epoch;
mod erased;
mod events;
mod extract;
mod feed;
mod fences;
mod forget;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod handle;
mod handoff;
mod land_only;
mod landed;
mod listing;
mod load;
mod open;
mod pipelines;
mod program;
mod reads;
mod report;
mod run;
mod settings;
mod state;
mod task;
#[cfg(test)]
mod tests;

pub use abandoned::AbandonedEpoch;
pub use builder::{FitsSink, FitsStage, Landable, NoSink, NoSource, PipelineBuilder, SinkFor, StageFor};
pub use events::{Event, Status};
pub use handle::{RunControl, RunFailure, RunHandle};
pub use land_only::LandOnly;
pub use landed::LandedPages;
pub use pipelines::{Ended, Pipelines, PipelinesHandle};
pub use report::{Gap, LandedCounts, Missing, PartitionReport, PartitionTotals, RunReport};
pub use settings::Settings;

use crate::checkpoint::CheckpointStore;
use crate::env::Env;
use crate::landing::Landing;
use crate::model::PipelineName;
use crate::sink::Quarantine;
use crate::store::{ObjectPath, Store};
use epoch::ConfigRecord;
use erased::{AnySink, AnySource};
use std::fmt::{self, Debug};
use std::sync::Arc;

/// A pipeline that is ready to run. Cheap to clone; two runs at the same time fence each other, as two processes do.
#[derive(Clone)]
pub struct Pipeline {
    name: PipelineName,
    source: Arc<dyn AnySource>,
    sink: Arc<dyn AnySink>,
    stages: Arc<[Box<dyn builder::StageFactory>]>,
    landing: Option<Landing>,
    /// The pipeline whose landing it loads, if that is not its own.
    landed_by: Option<PipelineName>,
    quarantine: Option<Quarantine>,
    checkpoints: Arc<dyn CheckpointStore>,
    state: Option<(Store, ObjectPath)>,
    from_the_beginning: bool,
    accept_quarantined: bool,
    settings: Settings,
    env: Env,
    config: ConfigRecord,
}

impl Pipeline {
    /// Begins a pipeline. The name is part of every object name: under another name it starts over.
    pub fn named(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder::named(name)
    }

    /// Its name.
    pub fn name(&self) -> &PipelineName {
        &self.name
    }
}

impl Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("name", &self.name).field("settings", &self.settings).finish_non_exhaustive()
    }
}
