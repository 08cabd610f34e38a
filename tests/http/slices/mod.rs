//! Incremental reading, windows, parents and children through whole pipelines: what the destination holds after each run.

mod crashes;
mod families;
mod gaps;
mod increments;
mod world;
