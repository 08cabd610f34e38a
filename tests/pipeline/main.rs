//! How a whole pipeline behaves, over a scripted source and stores in memory.

#![allow(clippy::type_complexity, unreachable_pub, reason = "a test binary has no outside")]

#[path = "../worlds/environment.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod environment;
mod support;

mod abandon;
mod coverage;
mod damaged;
mod enumerations;
mod epochs;
#[cfg(feature = "delta")]
mod forged;
mod guards;
mod observed;
mod odd;
mod partitions;
mod refusals;
mod resume;
mod run;
mod shutdown;
mod tables;
mod together;
