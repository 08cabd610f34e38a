//! The ADBC sink against real drivers: `scripts/with-adbc cargo test … --test adbc`. Drivers that are not there are skipped, which is said.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test that is skipped says so, and one that counts prints its figures"
)]

#[path = "../loads/columns.rs"]
mod columns;
#[path = "../worlds/environment.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod environment;
#[path = "../loads/load.rs"]
mod load;
#[path = "../loads/pages.rs"]
mod pages;
mod support;

mod crash;
mod pipeline;
mod refusals;
mod sessions;
mod types;
mod writers;

/// Databases are waited for in earnest.
fn clock() -> landfall::env::Env {
    landfall::env::Env::system()
}
