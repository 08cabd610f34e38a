//! Implementations that break one guarantee each: a check that lets its defect pass would prove nothing.

mod sinks;
mod sources;
mod stages;
