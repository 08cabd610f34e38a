//! Incremental reading, windows, parents and children through whole pipelines: what the destination holds after each run.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod families;
mod increments;
mod world;
