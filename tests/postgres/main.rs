//! The PostgreSQL sink and checkpoint store against a real server: `scripts/with-postgres cargo test … --test postgres`. Without
//! a server the tests are skipped, and say so.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test that is skipped, or that measures, says so"
)]

#[path = "../loads/columns.rs"]
mod columns;
#[path = "../loads/load.rs"]
mod load;
#[path = "../loads/pages.rs"]
mod pages;
#[path = "../defects/paired.rs"]
mod paired;
mod support;

mod checkpoints;
mod defects;
mod dispositions;
mod errors;
mod histories;
mod odd_tables;
mod pipeline;
mod rights;
mod sessions;
mod types;

/// One on which waits pass at once.
fn clock() -> landfall::env::Env {
    landfall::testkit::test_env(1)
}
