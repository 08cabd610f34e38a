//! Connectors: one room for each foreign system.

#[cfg(feature = "parquet")]
pub mod parquet;
