//! landfall takes data out of HTTP APIs and puts it into a warehouse exactly once, and proves it.

#![forbid(unsafe_code)]

pub mod checkpoint;
#[cfg(feature = "arrow")]
pub mod columnar;
pub mod connectors;
pub mod env;
pub mod error;
#[cfg(any(feature = "http", feature = "arrow"))]
pub mod json;
pub mod landing;
pub mod model;
pub mod pipeline;
pub mod retry;
pub mod sink;
pub mod source;
pub mod stage;
pub mod store;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use async_trait::async_trait;
pub use error::{Error, ErrorKind, Result};
