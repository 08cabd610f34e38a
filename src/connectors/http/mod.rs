//! Records of HTTP APIs: the [`Rest`] source, its pagination, its credentials, and its limits.
//!
//! What it promises beyond the contract of a [`Source`](crate::source::Source):
//!
//! 1. *One origin.* Links and redirects are followed within the configured scheme, host and port, and those that are allowed besides;
//!    others are refused before anything is sent.
//! 2. *Whole pages.* A cut body, HTML, a status without a page or damage of the whole page is an error of the fetch, never "no records".
//! 3. *No circles.* A request or a page's content that comes again in one read is an error of kind `Incomplete`; so are 1,000
//!    pages without records, one after the other.
//! 4. *Totals.* Where the API claims a total, fewer or more records are an error of kind `Incomplete`; so is an end that other
//!    declared evidence speaks against.
//! 5. *Bounded.* Bodies, decompression, redirects, links, retries and waits have limits.
//! 6. *Secrets* appear in no error, log, page, position or `Debug`.
//!
//! ```
//! use landfall::connectors::http::{Bearer, Cursor, Rest};
//!
//! let orders = Rest::get("https://api.example.com/v1/orders")
//!     .auth(Bearer::from_env("ORDERS_TOKEN"))
//!     .paginate(Cursor::at("$.next_cursor").query("cursor"))
//!     .records("$.data[*]");
//! // A pipeline takes it as it is: `.source(orders)`. Nothing is asked before it runs.
//! # drop(orders);
//! ```

mod archive;
mod auth;
mod body;
mod client;
mod config;
mod detect;
mod drift;
mod egress;
mod export;
mod fetch;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod hosts;
mod incremental;
mod limits;
mod listing;
mod loop_guard;
mod origin;
mod pace;
mod pagination;
mod partitions;
mod position;
mod read;
mod receive;
mod request;
mod rest;
mod rules;
mod scanned;
mod status;
mod template;
mod tree;
mod unsaid;
mod validators;
mod windows;

pub use auth::{
    Answered, ApiKey, Auth, AuthContext, Basic, Bearer, Credentials, Endpoints, Exchange, Exchanged, Hmac,
    HmacEncoding, HmacTime, Jwt, JwtBearer, KeptToken, OAuth2, Reaction, Secret, SecretProvider, Session, SigV4,
    Signature, TokenAt, TokenPool, TokenStore, TokenTo,
};
pub use config::RestBuilder;
pub use detect::Detected;
pub use egress::{Proxy, Tls};
pub use export::Export;
pub use incremental::{CursorFormat, CursorTooOld, Edge, RowOrder, Since, Unit, Without};
pub use limits::Limits;
pub use pagination::{
    Answer, At, Claims, Counts, Cursor, Keyset, LinkHeader, NextUrl, Offset, PageNumber, Paginate, Place, Single, Step,
    Stop, Target,
};
pub use partitions::Parent;
pub use position::RestPosition;
pub use request::Request;
pub use rest::Rest;
pub use rules::{On, Rule, Statuses, WaitFrom};
/// The type of secrets in memory, for credentials of your own.
pub use secrecy::SecretString;
pub use windows::{Window, WindowOrder};

#[cfg(test)]
mod tests;
