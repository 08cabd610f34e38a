//! The cases of dispositions, on each warehouse by the same body: what must be in the table afterwards does not depend on where the
//! table is. PostgreSQL takes part where there is a server, databases behind ADBC drivers where these are (feature `adbc`):
//! `scripts/with-postgres scripts/with-adbc cargo test … --test warehouses`; what is not there is skipped, which is said.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test that is skipped says so, and one that counts prints its figures"
)]

#[cfg(feature = "adbc")]
mod adbc;
mod api;
mod warehouse;

/// Makes a test on one warehouse, if it is there, of each case.
macro_rules! on {
    ($module:ident, $open:expr, $($case:ident),*) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $case() {
                    if let Some(warehouse) = $open {
                        super::$case(warehouse).await;
                    }
                }
            )*
        }
    };
}

/// Makes a test on each warehouse of each case.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        on!(delta, Some(crate::warehouse::Delta::new()), $($case),*);
        on!(postgres, crate::warehouse::Server::new().await, $($case),*);
        #[cfg(feature = "adbc")]
        on!(duckdb, crate::adbc::Through::<crate::adbc::DuckDb>::new(), $($case),*);
        #[cfg(feature = "adbc")]
        on!(sqlite, crate::adbc::Through::<crate::adbc::Sqlite>::new(), $($case),*);
        #[cfg(feature = "adbc")]
        on!(unknown, crate::adbc::Through::<crate::adbc::Unknown>::new(), $($case),*);
    };
}

mod abandon;
mod contract;
mod crashes;
mod ownership;
mod replace;
mod state;
mod tables;
mod upsert;
