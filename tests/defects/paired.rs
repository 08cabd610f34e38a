//! A scenario over a server, with and without its defect.

use futures::FutureExt;
use landfall::testkit::Defect;
use std::panic::AssertUnwindSafe;

/// Demands that a scenario holds as it is, and does not with its defect; says so in the line that `scripts/prove` counts.
#[allow(clippy::future_not_send, reason = "it is awaited where it is made")]
pub async fn assert_noticed(defect: Defect, database: &str, scenario: impl AsyncFn()) {
    scenario().await;
    let noticed = {
        let _on = defect.switch_on();
        AssertUnwindSafe(scenario()).catch_unwind().await.is_err()
    };
    let figure = if noticed { "caught=1" } else { "caught=0 missed=1" };
    println!("proof suite=defects of=\"{defect:?}, {database}\" {figure}");
    assert!(noticed, "{defect:?} is not noticed");
}
