//! The whole connector in a pipeline, under a fault at every operation, singly and in pairs.

#![allow(clippy::disallowed_macros, clippy::print_stdout, reason = "it prints figures")]

use landfall::landing::Landing;
use landfall::model::{PipelineName, ShardKey};
use landfall::pipeline::{Pipeline, Settings};
use landfall::sink::{Quarantine, Sink};
use landfall::store::Store;
use landfall::testkit::{FaultSource, Faults, Schedules, Verdict, World, test_env};
use landfall::{Result, async_trait};
use landfall_stations::{Database, InOneStep, Parse, SqliteCheckpoints, SqliteReadings, StationLogs, Wire};
use std::sync::atomic::{AtomicU64, Ordering};

const OSLO: &str = "06:00,-3.5\n07:00,-2.0\n07:00,-2.0\n08:00,?\n";
const LIMA: &str = "06:00,17.25\n07:00,18.0\n";

/// The methods of the checkpoint store, by the names of their transactions.
const METHODS: [&str; 6] =
    ["create record", "read record", "list records", "read boundary", "advance boundary", "remove record"];

/// What outlives the processes: the logs, the landing, the database.
struct Weather {
    logs: tempfile::TempDir,
    store: Store,
    database: Database,
    processes: AtomicU64,
}

impl Weather {
    fn new() -> Self {
        let logs = tempfile::tempdir().expect("a folder");
        std::fs::write(logs.path().join("oslo.log"), OSLO).expect("a log");
        std::fs::write(logs.path().join("lima.log"), LIMA).expect("a log");
        let database = Database::in_memory().expect("a database");
        Self { logs, store: Store::memory(), database, processes: AtomicU64::new(1) }
    }
}

/// The way from a process to its database: each transaction may go wrong.
#[derive(Debug)]
struct Faulty(Faults);

#[async_trait]
impl Wire for Faulty {
    async fn pass(&self, operation: &'static str, transaction: InOneStep<'_>) -> Result<()> {
        match operation.split(' ').next() {
            Some("read" | "list") => self.0.read_point(operation, "database", transaction).await,
            _ => self.0.point(operation, "database", transaction).await,
        }
    }
}

#[async_trait]
impl World for Weather {
    /// One process: a run of the pipeline, each effect of which passes `faults`.
    async fn process(&self, faults: &Faults) -> Result<()> {
        let store = faults.store(&self.store);
        let logs = StationLogs::in_folder(self.logs.path()).page_bytes(20);
        let database = self.database.reached_by(Faulty(faults.clone()));
        let pipeline = Pipeline::named("weather")
            .source(FaultSource::new(logs, faults))
            .land(Landing::in_store(&store, "raw")?)
            .stage(Parse)
            .sink(SqliteReadings::new(&database))
            .quarantine(Quarantine::in_store(&store, "quarantine")?)
            .checkpoints(SqliteCheckpoints::new(&database))
            // Several epochs, of whose checkpoints all but two are removed.
            .settings(Settings::default().epoch_records(2).kept_checkpoints(1))
            .env(test_env(self.processes.fetch_add(1, Ordering::SeqCst)))
            .build()?;
        pipeline.run().await?;
        Ok(())
    }

    /// The oracle: what the logs say, against what the table and the quarantine hold.
    async fn verdict(&self) -> Verdict {
        let station = |name: &str, log: &str| -> Vec<String> {
            let good = log.lines().filter(|line| !line.ends_with('?'));
            good.map(|line| format!("{name},{line}")).collect()
        };
        let served = [station("oslo", OSLO), station("lima", LIMA)].concat();
        let rows = Verdict::of(served, self.database.rows().await.expect("the table"));
        let quarantine = Quarantine::in_store(&self.store, "quarantine").expect("a name");
        let refused = quarantine.read_all().await.expect("the quarantine");
        rows.and(Verdict::of([&b"08:00,?"[..]], refused.iter().map(|record| &record.raw[..])))
    }

    /// A reader that looks whenever it can: rows come with their mark, or not at all.
    async fn watch(&self) -> Verdict {
        let sink = SqliteReadings::new(&self.database);
        let shard = ShardKey { pipeline: PipelineName::new("weather").expect("a name"), shard: 0 };
        let mut before = (None, 0);
        loop {
            let mark = sink.mark(&shard).await.expect("the mark");
            let rows = self.database.rows().await.expect("the table").len();
            // Over a network others commit between the two calls: mark and rows are of one moment only if the mark is still the same.
            if sink.mark(&shard).await.expect("the mark") == mark {
                if mark == before.0 && rows != before.1 {
                    return Verdict::partial(format!("{rows} rows with the mark of {}", before.1));
                }
                before = (mark, rows);
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn it_survives_a_fault_at_every_operation() {
    let outcome = Schedules::of(Weather::new).pairs(20).run().await;
    // What no process comes to has not been tried.
    for method in METHODS {
        assert!(outcome.trace.iter().any(|point| point.operation == method), "no process comes to: {method}");
    }
    println!("{}", outcome.proof("stations into SQLite"));
    outcome.assert_right();
}
