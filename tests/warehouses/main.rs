//! The cases of dispositions, on each warehouse by the same body: what must be in the table afterwards does not depend on where the
//! table is. PostgreSQL takes part where there is a server: `scripts/with-postgres cargo test … --test warehouses`; without one
//! its cases are skipped, and say so.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test that is skipped says so, and one that counts prints its figures"
)]

mod api;
mod proxy;
mod warehouse;

/// Makes a test on each warehouse of each case.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        mod delta {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(crate::warehouse::Delta::new()).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $case() {
                    if let Some(warehouse) = crate::warehouse::Server::new().await {
                        super::$case(warehouse).await;
                    }
                }
            )*
        }
    };
}

mod contract;
mod crashes;
mod ownership;
mod replace;
mod state;
mod tables;
mod upsert;
