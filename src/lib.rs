//! landfall takes data out of HTTP APIs and puts it into a warehouse **exactly once, and proves it**.
//!
//! The raw response is made durable first; from then on the landed bytes are the source. Everything after that is
//! deterministic, replayable and committed in one atomic step, and every record that came in is accounted for.
//!
//! # Run a pipeline
//!
//! ```
//! # #[cfg(all(feature = "http", feature = "parquet"))]
//! # mod example {
//! use landfall::checkpoint::StoreCheckpoints;
//! use landfall::columnar::{Decode, Dedup, Validate};
//! use landfall::connectors::http::{Bearer, Cursor, Rest, Since};
//! use landfall::connectors::parquet::ParquetDataset;
//! use landfall::landing::Landing;
//! use landfall::pipeline::Pipeline;
//! use landfall::sink::Quarantine;
//! use landfall::store::Store;
//! use std::time::Duration;
//!
//! async fn load() -> landfall::Result<()> {
//!     let store = Store::local("/var/lib/orders")?;
//!     let lake = Store::local("/data/lake")?;
//!     let orders = Pipeline::named("orders")
//!         .source(
//!             Rest::get("https://api.example.com/v1/orders")
//!                 .auth(Bearer::from_env("ORDERS_TOKEN"))
//!                 .paginate(Cursor::at("$.next_cursor").query("cursor"))
//!                 .records("$.data[*]")
//!                 .since(Since::field("updated_at").query("since").overlap(Duration::from_secs(300))),
//!         )
//!         .land(Landing::in_store(&store, "raw")?)
//!         .stage(Decode::pages().records("$.data[*]").infer())
//!         .stage(Validate::new().required("id").range("amount", 0.0..))
//!         .stage(Dedup::by(["id"]))
//!         .sink(ParquetDataset::in_store(&lake, "orders")?)
//!         .quarantine(Quarantine::in_store(&store, "quarantine")?)
//!         .checkpoints(StoreCheckpoints::new(&store, "checkpoints")?)
//!         .build()?;
//!     let report = orders.run().await?; // or `.start()`, for a handle: status, events, drain, abort
//!     println!("{report}"); // the balanced ledger, and why each partition ended
//!     Ok(())
//! }
//! # }
//! ```
//!
//! Killed at any moment and run again, it goes on where it was. Begin with [`pipeline`]; what can stand in each place is in
//! [`source`], [`stage`], [`sink`], [`checkpoint`], [`landing`] and [`store`], in [`columnar`] for records as Arrow batches,
//! and in [`connectors`]. What is delivered by which combination: `docs/semantics.md`.
//!
//! # Write a connector
//!
//! | to bring | implement |
//! |---|---|
//! | data from a system | [`source::Source`] |
//! | a step between | [`stage::Stage`], or use [`stage::from_fn`] |
//! | a destination | [`sink::Sink`] and [`sink::Writer`]; [`sink::decide_commit`] decides |
//! | a place for checkpoints | [`checkpoint::CheckpointStore`] |
//! | a place for everything | [`store::ObjectAccess`] |
//!
//! Each trait's page is its contract, in numbered guarantees. Depend on this crate with `default-features = false`: no TLS, no HTTP
//! client, no Arrow. The feature `testkit` brings owned time, faults at every I/O point and conformance checks.
//! `docs/connector-guide.md` goes through it step by step.
//!
//! # Operate it
//!
//! [`ErrorKind`] says what to do about an error; [`pipeline::Event`] and [`pipeline::Status`] what happens in a run; spans go to
//! `tracing` and counters to `metrics`. Their names, and what to alert on: `docs/operations.md`. What is kept on disk:
//! `docs/formats.md`. What each object store needs: `docs/stores.md`.

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

mod defects;

// The public surface: each item has one path, below one of these.
// The roles and their contracts.
pub mod checkpoint;
pub mod landing;
pub mod retry;
pub mod sink;
pub mod source;
pub mod stage;
pub mod store;
// What puts them together.
pub mod connectors;
pub mod pipeline;
// What they speak of.
#[cfg(feature = "arrow")]
pub mod columnar;
pub mod env;
pub mod error;
#[cfg(any(feature = "http", feature = "arrow"))]
pub mod json;
pub mod model;
#[cfg(any(feature = "http", feature = "arrow"))]
pub mod records;
// For tests of all of it.
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use async_trait::async_trait;
pub use error::{Error, ErrorKind, Result};

/// The code in the documents compiles.
#[cfg(all(doctest, feature = "http", feature = "parquet"))]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[cfg(feature = "testkit")]
    #[doc = include_str!("../docs/testkit.md")]
    struct Testkit;
    #[doc = include_str!("../docs/http.md")]
    struct Http;
    #[cfg(feature = "delta")]
    #[doc = include_str!("../docs/semantics.md")]
    struct Semantics;
    #[cfg(feature = "postgres")]
    #[doc = include_str!("../docs/warehouses.md")]
    struct Warehouses;
    #[cfg(feature = "delta")]
    #[doc = include_str!("../docs/delta.md")]
    struct Delta;
    #[cfg(feature = "adbc")]
    #[doc = include_str!("../docs/adbc.md")]
    struct Adbc;
}
