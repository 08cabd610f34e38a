//! Logs of weather stations into SQLite: a source, a stage, a sink and a checkpoint store over `landfall`'s contracts.
//!
//! `docs/connector-guide.md` of landfall builds this crate step by step.

#![forbid(unsafe_code)]

mod feed;
pub use feed::{BytesRead, StationLogs};

mod parse;
pub use parse::{Parse, Reading};

mod database;
pub use database::{Database, InOneStep, Wire};

mod writer;
pub use writer::{SqliteWriter, StagedReadings};

mod sink;
pub use sink::SqliteReadings;

mod checkpoints;
pub use checkpoints::SqliteCheckpoints;
