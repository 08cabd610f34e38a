//! The contracts as checks: each names the guarantee that it holds an implementation to, and panics where it is broken.

pub mod rates;
pub mod store;
