//! A process that is killed at each of its writes in turn, and run again: however often, each row is there once.

use crate::environment::every;
use crate::pipeline::pages;
use crate::support::{Kind, World, reach};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::{Columns, Decode};
use landfall::connectors::adbc::AdbcTable;
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{Disposition, Quarantine, Replace, Upsert};
use landfall::store::Store;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The calls by which a file of a database changes.
const WRITES: &str = "pwrite64,write,fsync,fdatasync,ftruncate,unlink";
const SIGKILL: i32 = 9;

/// What a process of its own does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    Append,
    Upsert,
    Replace,
    /// Opens the database, says so, and waits to be killed.
    Hold,
}

pub struct Process(std::process::Child);

impl Process {
    pub fn wait_until_open(&mut self) {
        let lines = BufReader::new(self.0.stdout.take().expect("is piped")).lines();
        let open = lines.map_while(Result::ok).any(|line| line.contains("database is open"));
        assert!(open, "it ended before it had the database open");
    }

    pub fn kill(mut self) {
        self.0.kill().expect("runs");
        self.0.wait().expect("ends");
    }
}

/// Starts this test binary again, as a process that does `what`; killed at write number `at`, if one is given. `None` if that cannot
/// be done here.
pub fn child(world: &World, what: Child, at: Option<u32>) -> Option<Process> {
    let this = std::env::current_exe().expect("has a path");
    let mut command = match at {
        None => Command::new(this),
        Some(at) => {
            let (calls, files): (_, &[&str]) = match world.kind {
                Kind::Postgres | Kind::Unknown => ("sendto", &[]),
                Kind::DuckDb => (WRITES, &["x.duckdb", "x.duckdb.wal"]),
                Kind::Sqlite => (WRITES, &["x.sqlite", "x.sqlite-journal"]),
            };
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
            for file in files {
                strace.arg("-P").arg(world.folder.path().join(file));
            }
            strace.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={at}")]).arg(this);
            strace
        }
    };
    command.args(["crash::as_a_process_of_its_own", "--exact", "--nocapture", "--test-threads", "1"]);
    let schema = world.schema.as_ref().map_or("orders".to_owned(), |schema| format!("{schema}.orders"));
    command
        .env("LANDFALL_ADBC_CHILD", format!("{what:?}\n{:?}\n{}\n{schema}", world.kind, world.folder.path().display()));
    let (out, err) =
        if what == Child::Hold { (Stdio::piped(), Stdio::inherit()) } else { (Stdio::null(), Stdio::null()) };
    match command.stdin(Stdio::null()).stdout(out).stderr(err).spawn() {
        Ok(child) => Some(Process(child)),
        Err(e) => {
            eprintln!("skipped: strace cannot be started: {e}");
            None
        }
    }
}

#[test]
fn as_a_process_of_its_own() {
    let Ok(told) = std::env::var("LANDFALL_ADBC_CHILD") else { return };
    let mut told = told.split('\n');
    let mut next = || told.next().expect("was told");
    let (what, kind, folder, name) = (next(), next(), next(), next());
    let kind =
        [Kind::DuckDb, Kind::Sqlite, Kind::Postgres, Kind::Unknown].into_iter().find(|k| format!("{k:?}") == kind);
    let database = reach(kind.expect("is one"), folder).expect("is there");
    let disposition = match what {
        "Upsert" => Disposition::from(Upsert::by(["id"])),
        "Replace" => Replace::table().into(),
        _ => Disposition::Append,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // Calls are counted thread by thread: all that the database does, it does on this one.
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .expect("starts");
    runtime.block_on(async {
        if what == "Hold" {
            database.query("SELECT 1").await.expect("opens");
            println!("database is open");
            std::future::pending::<()>().await;
        }
        let table = AdbcTable::at(&database, name).expect("a name").disposition(disposition);
        let store = Store::local(Path::new(folder).join("store")).expect("a folder");
        let report = Pipeline::named("orders")
            .source(pages(0..6, "a"))
            .land(Landing::in_store(&store, "raw").expect("a name").segment_bytes(64))
            .stage(Decode::pages().schema(Columns::new().int64("id").utf8("name")))
            .sink(table)
            .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&store, "checkpoints").expect("a name"))
            .settings(Settings::default().epoch_records(3))
            .build()
            .expect("complete")
            .run()
            .await
            .expect("runs");
        assert!(report.is_complete(), "{report}");
    });
}

/// Kills at each write, until a process needs fewer: at some of them, because all of them take minutes (see [`every`]).
async fn at_every_write(kind: Kind, what: Child) {
    // DuckDB makes few writes, of which most are the commits.
    let step = usize::try_from(every(if kind == Kind::DuckDb { 3 } else { 19 })).expect("a step");
    let mut kills = 0;
    for at in (1..).step_by(step) {
        let Some(world) = World::new(kind) else { return };
        let Some(mut killed) = child(&world, what, Some(at)) else { return };
        let ended = killed.0.wait().expect("ends");
        let whole = ended.success();
        if !whole {
            // strace ends as what it traces does; without the right to trace, by itself.
            let case = format!("{kind:?}, {what:?}, to be killed at {at}");
            assert_eq!(ended.signal(), Some(SIGKILL), "{case}, ended with {ended}: may strace trace here?");
            kills += 1;
            let again = child(&world, what, None).expect("starts").0.wait().expect("ends");
            assert!(again.success(), "{kind:?}, {what:?}, killed at {at}: it does not recover");
        }
        let rows = world.ask("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM {orders}").await;
        assert_eq!(rows, ["6|6|0|5"], "{kind:?}, {what:?}, killed at {at}");
        assert!(world.staged().await.is_empty() || !whole, "{kind:?}, {what:?}");
        if whole {
            break;
        }
    }
    assert!(kills > 0, "{kind:?}, {what:?}: no call was met that changes its file");
    println!("proof suite=kills of=\"adbc {kind:?} {what:?}\" every={step} kills={kills} lost=0 doubled=0");
}

#[tokio::test]
async fn killed_at_any_write_into_duckdb_each_row_is_there_once() {
    for what in [Child::Append, Child::Upsert, Child::Replace] {
        at_every_write(Kind::DuckDb, what).await;
    }
}

#[tokio::test]
async fn killed_at_any_write_into_sqlite_each_row_is_there_once() {
    for what in [Child::Append, Child::Upsert, Child::Replace] {
        at_every_write(Kind::Sqlite, what).await;
    }
}

#[tokio::test]
async fn killed_at_any_message_to_postgres_each_row_is_there_once() {
    for what in [Child::Append, Child::Upsert, Child::Replace] {
        at_every_write(Kind::Postgres, what).await;
    }
}
