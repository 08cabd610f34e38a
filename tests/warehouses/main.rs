//! The cases of dispositions, on each warehouse by the same body: what must be in the table afterwards does not depend on where the
//! table is. PostgreSQL takes part where there is a server, databases behind ADBC drivers where these are:
//! `scripts/with-postgres scripts/with-adbc cargo test … --test warehouses`; what is not there is skipped, which is said.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "a test that is skipped says so, and one that counts prints its figures"
)]

mod adbc;
mod api;
#[path = "../worlds/counted.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod counted;
mod cuts;
#[path = "../worlds/environment.rs"]
mod environment;
#[path = "../worlds/hooked.rs"]
#[allow(dead_code, reason = "shared with another test binary")]
mod hooked;
#[path = "../loads/load.rs"]
mod load;
#[path = "../defects/paired.rs"]
mod paired;
mod sql;
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
        on!(duckdb, crate::adbc::Through::<crate::adbc::DuckDb>::new(), $($case),*);
        on!(sqlite, crate::adbc::Through::<crate::adbc::Sqlite>::new(), $($case),*);
        on!(unknown, crate::adbc::Through::<crate::adbc::Unknown>::new(), $($case),*);
    };
}

/// Makes a test on each database that is asked in SQL of each case.
macro_rules! sql_cases {
    ($($case:ident),* $(,)?) => {
        server_cases!($($case),*);
        on!(duckdb, crate::adbc::Through::<crate::adbc::DuckDb>::new(), $($case),*);
        on!(sqlite, crate::adbc::Through::<crate::adbc::Sqlite>::new(), $($case),*);
        on!(unknown, crate::adbc::Through::<crate::adbc::Unknown>::new(), $($case),*);
    };
}

/// Makes a test on PostgreSQL, by landfall's own sink and by ADBC, of each case.
macro_rules! server_cases {
    ($($case:ident),* $(,)?) => {
        on!(postgres, crate::warehouse::Server::new().await, $($case),*);
        on!(through_adbc, crate::adbc::Through::<crate::adbc::Postgres>::new(), $($case),*);
    };
}

mod abandon;
mod commits;
mod conformance;
mod contract;
mod defects;
mod dispositions;
mod enumerations;
mod evolution;
mod histories;
mod meanwhile;
mod odd_servers;
mod odd_tables;
mod ownership;
mod replace;
mod restart;
mod state;
mod tables;
mod types;
mod upsert;

/// Databases are waited for in earnest.
fn clock() -> landfall::env::Env {
    landfall::env::Env::system()
}
