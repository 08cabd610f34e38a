//! Logs of weather stations into SQLite: a source, a stage, a sink and a checkpoint store over `landfall`'s contracts.
//!
//! `docs/connector-guide.md` of landfall builds this crate step by step.

#![forbid(unsafe_code)]

mod checkpoints;
mod database;
mod feed;
mod parse;
mod sink;

pub use checkpoints::SqliteCheckpoints;
pub use database::{Database, InOneStep, Wire};
pub use feed::{BytesRead, StationLogs};
pub use parse::{Parse, Reading};
pub use sink::{Batch, SqliteReadings, SqliteWriter};
