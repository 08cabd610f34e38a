//! Trying again: when ([`Backoff`]), whether it may ([`Policy`]), and how much of it in total ([`WaitBudget`], [`RetryTokens`]).
//! And trying at all: whether the other side answers ([`Breaker`]), how many calls per time ([`rate`]), and how many at the same
//! time ([`AdaptiveLimit`]).
//!
//! Faults and rate limits have separate budgets. A fault costs an attempt and time; being asked to wait costs waiting
//! time only, and when that is used up the work is put off, not failed.
//!
//! ```
//! use landfall::env::Env;
//! use landfall::retry::{Next, Policy, RetryTokens, Trial};
//! use std::time::Duration;
//!
//! let (env, tokens) = (Env::system(), RetryTokens::default());
//! let mut trial = Trial::new(&Policy::default());
//! // The first retry comes soon.
//! assert!(matches!(trial.fault(&env, &tokens), Next::Again { after } if after <= Duration::from_millis(50)));
//! ```

mod adaptive;
mod backoff;
mod breaker;
mod budget;
mod policy;
pub mod rate;
mod turns;

pub use adaptive::{AdaptiveLimit, Concurrency, Permit};
pub use backoff::Backoff;
pub use breaker::{Breaker, Entry, Pass};
pub use budget::{RetryTokens, WaitBudget};
pub use policy::{Next, Policy, Trial};
pub use turns::Priority;
