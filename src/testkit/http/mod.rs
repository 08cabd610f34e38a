//! HTTP APIs on loopback whose answers a test decides: [`Server`] byte by byte, [`ScriptedApi`] as APIs are: rows in pages, credentials,
//! limits of rate, faults, and a table of what was served. With the feature `http`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::testkit::http::{Access, Fault, Paging, ScriptedApi};
//!
//! let api = ScriptedApi::new(Paging::Cursor)
//!     .page_size(2)
//!     .access(Access::Bearer("secret".into()))
//!     .fault_at(1, Fault::CutAt(10))
//!     .start()
//!     .await;
//! for id in 0..5 {
//!     api.put(id, serde_json::json!({ "name": "x" }));
//! }
//! // Point the source at `api.url()`, run the pipeline, and compare what is in its destination: id and version of each row.
//! let verdict = api.served().verdict([]);
//! assert_eq!(verdict.lost, 5);
//! # Ok(())
//! # }
//! ```

mod access;
mod api;
mod fault;
mod paging;
mod served;
mod server;

pub use access::Access;
pub use api::{ApiScript, ScriptedApi};
pub use fault::{Fault, RetryAfter};
pub use paging::Paging;
pub use served::{Served, ServedRow};
pub use server::{Reply, Request, Server};
