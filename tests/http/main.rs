//! HTTP sources through whole pipelines, against servers and proxies of their own.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

mod drift;
mod faults;
mod scripted;
mod simulated;
mod slices;
