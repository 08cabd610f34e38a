//! A scenario over a server, with and without its defect; and what a scenario that does not hold has said.

use futures::FutureExt;
use landfall::testkit::Defect;
use std::any::Any;
use std::panic::AssertUnwindSafe;

/// Demands that a scenario holds as it is, and does not with its defect, for the reason that `says` is a part of; says so in the line that
/// `scripts/prove` counts.
#[allow(clippy::future_not_send, reason = "it is awaited where it is made")]
pub async fn assert_noticed(defect: Defect, database: &str, says: &str, scenario: impl AsyncFn()) {
    scenario().await;
    let ended = {
        let _on = defect.switch_on();
        AssertUnwindSafe(scenario()).catch_unwind().await
    };
    let why = ended.err().map(|panic| said(&*panic));
    let noticed = why.as_ref().is_some_and(|why| why.contains(says));
    let figure = if noticed { "caught=1" } else { "caught=0 missed=1" };
    println!("proof suite=defects of=\"{defect:?}, {database}\" {figure}");
    assert!(noticed, "{defect:?} is not noticed: not \"{says}\", but {why:?}");
}

/// The words of a panic.
pub fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned()
}
