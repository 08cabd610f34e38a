//! Rate budgets: calls wait before an API refuses them.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> landfall::Result<()> {
//! use landfall::env::Env;
//! use landfall::retry::rate::{Call, Calls, Learn, Quota, Rate, RateBudget, Turn};
//! use landfall::retry::Priority;
//! use std::time::Duration;
//!
//! let minute = Duration::from_secs(60);
//! let budget = RateBudget::named("crm")
//!     // Every call, in two windows at once; what the API says is left counts too.
//!     .quota(Quota::new([Rate::new(100, minute), Rate::new(5_000, 24 * 60 * minute)]).learn(Learn::usual()))
//!     // Exports are dear.
//!     .quota(Quota::new([Rate::new(10, minute)]).of(Calls::path("/exports/**").method("POST").weight(5)))
//!     .build()?; // clones are the same budget: give one to every source of the API
//!
//! let call = Call::new("POST", "/exports/orders");
//! match budget.acquire(&Env::system(), &call, Priority::Incremental, minute).await? {
//!     Turn::Now(ticket) => drop(ticket), // make the call; `ticket.observe(…)` with the headers of the response
//!     Turn::PutOff { wait } => println!("come back in {wait:?}"),
//! }
//! # Ok(())
//! # }
//! ```

mod budget;
mod calls;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod fuzz;
mod headers;
mod learned;
mod quota;
mod shared;
mod store_rates;
mod window;

pub use budget::{RateBudget, Ticket, Turn};
pub use calls::{Call, Calls};
#[cfg(feature = "http")]
pub(crate) use headers::is_skewed;
pub use headers::{Learn, Reset};
pub use quota::{Quota, RateBudgetBuilder};
pub use shared::{Grant, SharedRates};
pub use store_rates::StoreRates;
pub use window::Rate;

#[cfg(test)]
mod tests;
