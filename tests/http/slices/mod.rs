//! Incremental reading, windows, parents and children through whole pipelines: what the destination holds after each run.

mod families;
mod increments;
mod world;
