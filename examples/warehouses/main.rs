//! What `scripts/warehouses` and `scripts/bench-warehouses` run of this crate, as a process of its own that can be killed and measured:
//!
//! ```text
//! warehouses load SINK --api URL --state PLACE   loads the demo API
//! warehouses write SINK FILE.parquet…            writes rows as they are, each file an epoch, and prints one line of JSON about it
//! warehouses compact SINK                        puts small files of a Delta table together
//! warehouses checkpoint SINK                     writes a checkpoint of its log
//! ```
//!
//! `SINK` is `delta:PLACE`, `parquet:PLACE`, `postgres:schema.table` of the database in `WAREHOUSE_URL`, `duckdb:FILE` or `sqlite:FILE`; behind it
//! `--disposition JSON` (as `Disposition` is serialised), `--partition-by COLUMN,COLUMN`, `--lanes N`. With a disposition that takes rows away
//! that did not come, each file is an enumeration.
//!
//! The exit code is 0; 4 if trying again may help, 7 if another process has taken over, else 1.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_macros, reason = "it is a program")]
#![allow(clippy::disallowed_methods, reason = "it runs on the machine's clock")]

mod command;
mod load;
mod target;
mod write;

use command::Command;
use landfall::env::Env;
use landfall::{Error, ErrorKind, Result};
use std::process::ExitCode;
use target::Target;

async fn run(command: Command) -> Result<()> {
    let Command { what, target, appends, files, api, state } = command;
    match what.as_str() {
        "load" => load::load(target, appends, &api, &state).await,
        "write" => write::write(target, &files).await,
        "compact" | "checkpoint" => {
            let Target::Delta(table) = target else {
                return Err(Error::config("keep up table", "only Delta has that"));
            };
            let env = Env::system();
            if what == "compact" {
                println!("{:?}", table.compact(&env).await?);
            } else {
                println!("{:?}", table.checkpoint(&env).await?);
            }
            Ok(())
        }
        other => Err(Error::config("read command", "there is no such command").with("command", other)),
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("threads can be started");
    match Command::parse(std::env::args().skip(1)).and_then(|command| runtime.block_on(run(command))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(match error.kind() {
                ErrorKind::Unavailable | ErrorKind::Ambiguous => 4,
                ErrorKind::Fenced => 7,
                _ => 1,
            })
        }
    }
}
