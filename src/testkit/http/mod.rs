//! HTTP APIs on loopback whose answers a test decides: [`Server`] byte by byte, [`ScriptedApi`] as APIs are: rows in pages, credentials,
//! limits of rate, faults, and a table of what was served. With the feature `http`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::testkit::http::{Access, Ending, Fault, Paging, ScriptedApi, Spot};
//!
//! let api = ScriptedApi::new(Paging::Cursor)
//!     .page_size(2)
//!     .access(Access::Bearer("secret".into()))
//!     .fault_at(1, Fault::Breaks(Spot::Byte(10), Ending::Close))
//!     .start()
//!     .await;
//! for id in 0..5 {
//!     api.put(id, serde_json::json!({ "name": "x" }));
//! }
//! // Load what `api.rest()` reads, and compare what is in the destination: each row as a JSON object.
//! let verdict = api.served().verdict([]);
//! assert_eq!(verdict.lost, 5);
//! # Ok(())
//! # }
//! ```

mod access;
mod api;
mod client;
mod export;
mod fault;
mod paging;
mod reply;
mod served;
mod server;
mod signed;
mod wait;

pub use access::Access;
pub use api::{ApiScript, ScriptedApi};
pub use fault::{Ending, Fault, Spot};
pub use paging::Paging;
pub use reply::Reply;
pub use served::{Served, ServedRow};
pub use server::{Connection, Request, Server, Socket};
pub use wait::Wait;
