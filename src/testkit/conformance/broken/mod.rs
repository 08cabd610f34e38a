//! Implementations that break one guarantee each: a check that lets its defect pass would prove nothing.

use crate::error::{Error, ErrorKind, Result};

/// A test of each check: it passes without a defect, and does not pass with any of these. `run` makes the check.
macro_rules! caught {
    ($run:ident: $($check:ident by $($defect:ident),+;)+) => {$(
        #[tokio::test]
        async fn $check() {
            use futures::FutureExt;
            use std::panic::AssertUnwindSafe;
            $run!($check, Defect::None).await;
            $(
                let passed = AssertUnwindSafe($run!($check, Defect::$defect)).catch_unwind().await.is_ok();
                assert!(!passed, "what {:?} passes", Defect::$defect);
            )+
        }
    )+};
}

/// What a client makes of a lost answer that takes it for a refusal.
fn denied<T>(answer: Result<T>) -> Result<T> {
    answer.map_err(|e| match e.kind() {
        ErrorKind::Ambiguous => Error::unavailable("ask", "it has not happened"),
        _ => e,
    })
}

mod checkpoints;
mod enumerations;
mod rates;
mod sinks;
mod sources;
mod stages;
mod stores;
