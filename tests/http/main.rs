//! HTTP sources through whole pipelines, against servers and proxies of their own.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod drift;
#[path = "../worlds/environment.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod environment;
mod faults;
#[path = "../secrets/keys.rs"]
#[allow(dead_code, reason = "only its certificates are needed here")]
mod keys;
mod scripted;
mod simulated;
mod slices;
