//! Secrets are planted in whole pipelines with every kind of credentials, which succeed and fail in every way; then everything
//! that was written is searched for them: logs and spans at the finest level, metrics, errors, reports, the landing, the
//! checkpoints, the quarantine, the dataset, events, status, accounts, coverage, and what programs print. The API says them back wherever an API can.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod api;
mod credentials;
mod destinations;
mod kept;
mod keys;
mod observed;
mod programs;
mod search;
mod ways;
