//! landfall takes data out of HTTP APIs and puts it into a warehouse exactly once, and proves it.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::await_holding_lock,
        clippy::future_not_send,
        clippy::mem_forget,
        clippy::result_large_err,
        clippy::sliced_string_as_bytes,
        clippy::type_complexity,
        reason = "tests are read once, on one thread"
    )
)]

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
