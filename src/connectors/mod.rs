//! Connectors: one room for each foreign system.

#[cfg(feature = "adbc")]
pub mod adbc;
#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "object-store")]
pub mod object_store;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(all(test, feature = "arrow"))]
mod tests;
