//! A line that shows how far a run is, on a terminal; nothing elsewhere.

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use landfall::pipeline::{RunFailure, RunHandle, RunReport};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for the end of a run and shows how far it is. Ctrl-C, or the `SIGTERM` of a supervisor, stops it gracefully; once
/// more, at once.
pub(crate) async fn watch(run: RunHandle) -> Result<RunReport, RunFailure> {
    let style =
        ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let line = ProgressBar::new_spinner().with_style(style); // draws on a terminal only
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let control = run.control();
    let mut end = std::pin::pin!(run.wait());
    let mut terminate = signal(SignalKind::terminate()).ok();
    let mut asked_to_stop = false;
    let result = loop {
        let stop = tokio::select! {
            result = &mut end => break result,
            _ = tick.tick() => false,
            _ = tokio::signal::ctrl_c() => true,
            Some(()) = async { terminate.as_mut()?.recv().await } => true,
        };
        if stop {
            if asked_to_stop {
                control.abort()
            } else {
                control.drain()
            }
            asked_to_stop = true;
        }
        let status = control.status();
        line.set_message(format!(
            "{} records landed ({}), {} committed in {} epochs{}",
            HumanCount(status.landed.records),
            HumanBytes(status.landed.bytes),
            HumanCount(status.committed.staged),
            status.epochs,
            if asked_to_stop { ", stopping" } else { "" },
        ));
        line.tick();
    };
    line.finish_and_clear();
    result
}
