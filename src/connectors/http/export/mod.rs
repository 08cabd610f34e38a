//! Export jobs: the API is asked to make a result, then asked whether it is there, and then the files of it are read.
//!
//! A read of an export is a listing whose pages are the files of one job, so everything else is as in other reads: bounds, cursor
//! fields, budgets, retries, landing. The position names the job, and how many of its files were read.

mod answer;
mod describe;
mod job;
mod words;

#[cfg(any(test, feature = "testkit"))]
pub(super) use answer::fuzzed;
pub use describe::Export;
pub(super) use describe::Exports;
pub(super) use job::{Export as Running, Job, Step};
