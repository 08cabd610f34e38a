//! What `scripts/warehouses` and `scripts/bench-warehouses` run of this crate, as a process of its own that can be killed and measured:
//!
//! ```text
//! warehouses load SINK --api URL --state PLACE   loads the demo API
//! warehouses again SINK --state PLACE            loads what was landed at PLACE once more: the API is not asked
//! warehouses write SINK FILE.parquet…            writes rows as they are, each file an epoch, and prints one line of JSON about it
//! warehouses compact SINK                        puts small files of a Delta table together
//! warehouses checkpoint SINK                     writes a checkpoint of its log
//! warehouses vacuum SINK                         deletes what Delta tables or a dataset do not need, as if it were two hours later
//! ```
//!
//! `SINK` is `delta:PLACE`, `parquet:PLACE`, `tables:PLACE` (a set of two Delta tables: orders, and a row of `notes` for each), `duckdb:FILE`,
//! `sqlite:FILE`, or in the database of `WAREHOUSE_URL` `postgres:schema.table`, `postgres-tables:schema` (the same two, in one transaction)
//! and `adbc-postgres:schema.table`; behind it `--disposition JSON` (as `Disposition` is serialised), `--partition-by COLUMN,COLUMN`,
//! `--lanes N`. With a disposition that takes rows away that did not come, each file is an enumeration. Of a load:
//! `--checkpoints-in-database`, `--keep CHECKPOINTS`, `--prune` (the landing), `--patience SECONDS` (with a database that is away);
//! `--one-thread` makes calls of the system come in one order, and then `--defect NAME` switches a defect on.
//!
//! The exit code is 0; 4 if trying again may help, 7 if another process has taken over, 8 if state is damaged, 10 for a bug, else 1.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_macros, reason = "it is a program")]
#![allow(clippy::disallowed_methods, reason = "it runs on the machine's clock")]

mod command;
mod load;
mod machine;
mod target;
mod vacuum;
mod write;

use command::Command;
use landfall::env::Env;
use landfall::testkit::Defect;
use landfall::{Error, ErrorKind, Result};
use std::fmt::Debug;
use std::process::ExitCode;
use target::Target;

async fn run(command: Command) -> Result<()> {
    let Command { what, target, files, load, .. } = command;
    let env = Env::system();
    match (what.as_str(), target) {
        ("load" | "again", target) => load::load(target, &load).await,
        ("write", target) => write::write(target, &files).await,
        ("vacuum", target) => vacuum::vacuum(target).await,
        ("compact", Target::Delta(table)) => print(table.compact(&env).await?),
        ("checkpoint", Target::Delta(table)) => print(table.checkpoint(&env).await?),
        (other, _) => {
            Err(Error::config("read command", "there is no such command for this sink").with("command", other))
        }
    }
}

fn print(outcome: impl Debug) -> Result<()> {
    println!("{outcome:?}");
    Ok(())
}

fn main() -> ExitCode {
    let outcome = Command::parse(std::env::args().skip(1)).and_then(|command| {
        let _broken = command.defect.map(Defect::switch_on);
        let mut runtime = match command.one_thread {
            true => tokio::runtime::Builder::new_current_thread(),
            false => tokio::runtime::Builder::new_multi_thread(),
        };
        let failed = |e| Error::unavailable("start", "no runtime can be started").with_source(e);
        runtime.enable_all().build().map_err(failed)?.block_on(run(command))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(match error.kind() {
                ErrorKind::Unavailable | ErrorKind::Ambiguous => 4,
                ErrorKind::Fenced => 7,
                ErrorKind::Corrupt => 8,
                ErrorKind::Bug => 10,
                _ => 1,
            })
        }
    }
}
