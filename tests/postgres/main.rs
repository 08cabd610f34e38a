//! The PostgreSQL sink and checkpoint store against a real server: `scripts/with-postgres cargo test … --test postgres`. Without
//! a server the tests are skipped, and say so.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod support;

mod checkpoints;
mod commits;
mod dispositions;
mod enumerations;
mod evolution;
mod pipeline;
mod types;
