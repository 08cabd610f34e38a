//! Loads any JSON API into a Parquet dataset, a Delta table or a database, as one spec in TOML says. Run it again and again: it goes on where it was.
//!
//! `cargo run --release --example ingest -- orders.toml` prints the ledger as a table; with `--json`, as JSON. `ingest check
//! orders.toml` says whether the spec is sound, and asks the API nothing; `ingest detect https://…` asks once, and prints a spec to
//! begin with; `ingest abandon` gives up what the destination refuses for good, and `ingest abandoned` lists what was. What a spec can say: `docs/ingest.md`.
//!
//! The exit code is 0 if everything was read to a proven end and committed. Else it says what to do: 2 change the spec or the
//! command, 3 renew the credentials, 4 try again later, 5 look at the data, 6 something is missing at the source, 7 another
//! instance has taken over, 8 state is damaged, 9 start again (the outcome of a write is not known), 10 report a bug, 130 it
//! was stopped: start again to go on.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_macros, reason = "it is a program")]
#![allow(clippy::disallowed_methods, reason = "it runs on the machine's clock")]

mod abandon;
mod command;
mod detect;
mod file;
mod pipeline;
#[path = "../progress/mod.rs"]
mod progress;
mod sink;
mod source;
mod spec;
mod stages;
#[cfg(test)]
mod tests;
mod value;
mod with;
mod words;

use command::Command;
use file::SpecFile;
use landfall::model::StopReason;
use landfall::pipeline::RunReport;
use landfall::{Error, ErrorKind, Result};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let stderr = std::io::stderr;
    // Errors are printed at the end; what happened on the way is shown to those who ask with RUST_LOG.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(stderr().is_terminal()).with_writer(stderr).init();
    match ingest().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", words::of_the_spec(&error.to_string()));
            exit_code(error.kind())
        }
    }
}

async fn ingest() -> Result<ExitCode> {
    let (path, json) = match Command::parse(std::env::args().skip(1))? {
        Command::Help => return print(command::USAGE).map(|()| ExitCode::SUCCESS),
        Command::Check { path } => {
            let (spec, _) = SpecFile::read(&path)?.pipeline()?;
            return print(&format!("{}: nothing is wrong with it\n", spec.name)).map(|()| ExitCode::SUCCESS);
        }
        Command::Detect { of } => return print(&detect::detect(&of).await?).map(|()| ExitCode::SUCCESS),
        Command::Abandon { path, by, why } => {
            return print(&abandon::give_up(&SpecFile::read(&path)?, &by, &why).await?).map(|()| ExitCode::SUCCESS);
        }
        Command::Abandoned { path, json } => {
            return print(&abandon::list(&SpecFile::read(&path)?, json).await?).map(|()| ExitCode::SUCCESS);
        }
        Command::Load { path, json } => (path, json),
    };
    let file = SpecFile::read(&path)?;
    let (_, pipeline) = file.pipeline()?;
    match progress::watch(pipeline.start()).await {
        Ok(report) => {
            show(&report, json)?;
            let traffic = &report.traffic;
            if traffic.throttled > 0 {
                let waited = traffic.waited.as_secs_f64();
                eprintln!("the API asked {} times to come more slowly; waited {waited:.1} s in all", traffic.throttled);
            }
            let open = || report.partitions.iter().filter(|p| !p.reason.is_complete());
            for gap in report.missing.gaps.iter().take(20) {
                eprintln!("missing: {gap}");
            }
            if report.missing.total == 0 {
                for partition in open().take(20) {
                    eprintln!("not complete: partition {}: {}", partition.partition, partition.reason);
                }
            }
            if let Some(error) = &report.unlisted {
                eprintln!("the list of partitions is not whole: {}", words::of_the_spec(error));
            }
            let later = open().any(|p| matches!(p.reason, StopReason::RateLimited { .. }));
            let refused = report.ledger.quarantined;
            if refused > 0 && refused == report.ledger.read {
                eprintln!("not one of {refused} records was good: the quarantine says of each what is wrong with it");
                return Ok(exit_code(ErrorKind::Data));
            }
            Ok(match report.is_complete() {
                true => ExitCode::SUCCESS,
                false if report.stopped => exit_code(ErrorKind::Cancelled),
                false if later => exit_code(ErrorKind::Unavailable),
                false => exit_code(ErrorKind::Incomplete),
            })
        }
        Err(failure) => {
            for other in failure.others() {
                eprintln!("error: {}", words::of_the_spec(&other.to_string()));
            }
            if failure.report().epochs > 0 {
                eprintln!("{} records were committed before it failed", failure.report().ledger.staged);
            }
            Err(file.find(failure.into()))
        }
    }
}

fn show(report: &RunReport, json: bool) -> Result<()> {
    if json { print(&json_of(report)?) } else { print(&report.to_string()) }
}

/// A line of JSON.
fn json_of(report: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(report)
        .map_err(|e| Error::bug("print report", "the report does not serialise").with_source(e))?;
    Ok(format!("{text}\n"))
}

/// Prints to a reader that may have read enough.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::unavailable("print report", "what was loaded is committed, but cannot be printed")
                .with_source(e))
        }
        _ => Ok(()),
    }
}

fn exit_code(kind: ErrorKind) -> ExitCode {
    ExitCode::from(match kind {
        ErrorKind::Config => 2,
        ErrorKind::Auth => 3,
        ErrorKind::Unavailable => 4,
        ErrorKind::Data => 5,
        ErrorKind::Incomplete => 6,
        ErrorKind::Fenced => 7,
        ErrorKind::Corrupt => 8,
        ErrorKind::Ambiguous => 9,
        ErrorKind::Cancelled => 130,
        _ => 10,
    })
}
