//! Each contract, held to its guarantees: one macro call makes one test of each check.

use landfall::async_trait;
use landfall::model::{Page, PartitionId, Rows, Timestamp};
use landfall::testkit::Faults;
use landfall::testkit::conformance::{Destination, SourceTrial, StageTrial};
use landfall_stations::{Database, InOneStep, Parse, Reading, SqliteCheckpoints, SqliteReadings, StationLogs, Wire};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A database in a file. Whoever opens it has a connection of its own, as another process has.
struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    fn new() -> Self {
        let folder = folder();
        Self { path: folder.path().join("readings.db"), _folder: folder }
    }

    fn open(&self) -> Database {
        Database::open(&self.path).expect("a database").reached_by(Yielding)
    }

    fn open_with(&self, faults: &Faults) -> Database {
        self.open().reached_by(Faulty(faults.clone()))
    }
}

/// SQLite answers at once: here others have their turn before and after each transaction, as with a server.
#[derive(Debug)]
struct Yielding;

#[async_trait]
impl Wire for Yielding {
    async fn pass(&self, _operation: &'static str, transaction: InOneStep<'_>) -> landfall::Result<()> {
        tokio::task::yield_now().await;
        transaction.await?;
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// Each transaction may go wrong, or lose its answer.
#[derive(Debug)]
struct Faulty(Faults);

#[async_trait]
impl Wire for Faulty {
    async fn pass(&self, operation: &'static str, transaction: InOneStep<'_>) -> landfall::Result<()> {
        self.0.point(operation, "database", transaction).await
    }
}

mod source {
    use super::*;

    struct Logs(TempDir);

    const OSLO: &str = "06:00,-3.5\n07:00,-2.0\n08:00,?\n";
    const LIMA: &str = "06:00,17.25\n";

    impl Logs {
        fn new() -> Self {
            let folder = folder();
            std::fs::write(folder.path().join("oslo.log"), OSLO).expect("a log");
            // The end of this one is still on its way.
            std::fs::write(folder.path().join("lima.log"), [LIMA, "07:0"].concat()).expect("a log");
            Self(folder)
        }
    }

    #[async_trait]
    impl SourceTrial for Logs {
        type Source = StationLogs;

        fn source(&self) -> StationLogs {
            StationLogs::in_folder(self.0.path()).page_bytes(20)
        }

        fn records(&self, page: &Page) -> Vec<String> {
            String::from_utf8_lossy(&page.body).lines().map(str::to_owned).collect()
        }

        async fn all(&self) -> BTreeMap<String, Vec<String>> {
            let lines = |log: &str| log.lines().map(str::to_owned).collect();
            BTreeMap::from([("oslo".to_owned(), lines(OSLO)), ("lima".to_owned(), lines(LIMA))])
        }

        fn is_exact(&self) -> bool {
            true // a position is a byte: nothing before it is read again
        }

        fn secrets(&self) -> Vec<String> {
            Vec::new() // files are read without a key
        }

        async fn refused(&self) -> Option<StationLogs> {
            None // so nobody refuses them
        }
    }

    landfall::source_conformance!(Logs::new());
}

mod stage {
    use super::*;

    struct Lines;

    fn page(lines: &'static str) -> Page {
        let records = lines.lines().count() as u64;
        Page::new(PartitionId::from("oslo"), lines, records, Timestamp::default())
    }

    impl StageTrial for Lines {
        type Stage = Parse;

        fn stage(&self) -> Parse {
            Parse
        }

        fn cuts(&self) -> Vec<Vec<Page>> {
            vec![vec![page("06:00,1\nbad\n06:00,1\n")], vec![page("06:00,1\n"), page(""), page("bad\n06:00,1\n")]]
        }

        fn records(&self, readings: &Rows<Reading>) -> Vec<String> {
            readings.0.iter().map(|reading| format!("{reading:?}")).collect()
        }
    }

    landfall::stage_conformance!(Lines);
}

mod sink {
    use super::*;

    #[async_trait]
    impl Destination for File {
        type Sink = SqliteReadings;

        fn sink(&self) -> SqliteReadings {
            SqliteReadings::new(&self.open())
        }

        async fn reached_by(&self, faults: &Faults) -> Option<SqliteReadings> {
            Some(SqliteReadings::new(&self.open_with(faults)))
        }

        fn item(&self, numbers: Range<u64>) -> Rows<Reading> {
            let reading = |n: u64| Reading { station: "oslo".into(), time: n.to_string(), celsius: 0.5 };
            Rows(numbers.map(reading).collect())
        }

        fn bad_item(&self, numbers: Range<u64>) -> Option<Rows<Reading>> {
            let bad = Reading { station: "oslo".into(), time: "999".into(), celsius: f64::NAN };
            Some(Rows([bad].into_iter().chain(self.item(numbers).0).collect()))
        }

        fn stages_outside(&self) -> bool {
            true // the rows of an epoch wait in a table of their own
        }

        async fn read(&self) -> Vec<u64> {
            super::times(&self.path).iter().filter_map(|time| time.parse().ok()).collect()
        }
    }

    landfall::sink_conformance!(File::new());
}

mod checkpoints {
    use super::*;
    use std::sync::Arc;

    landfall::checkpoint_conformance!(
        {
            let file = File::new();
            (Arc::new(SqliteCheckpoints::new(&file.open())), file)
        },
        reached_by: async |file: &File, faults: &Faults| {
            (Arc::new(SqliteCheckpoints::new(&file.open_with(faults))), ())
        }
    );
}

/// What any reader of the file sees: it knows nothing of this crate.
fn times(file: &std::path::Path) -> Vec<String> {
    let reader = rusqlite::Connection::open(file).expect("the database");
    let mut find = reader.prepare("SELECT time FROM readings ORDER BY CAST(time AS INTEGER)").expect("the table");
    let times = find.query_map([], |row| row.get(0)).expect("rows");
    times.collect::<rusqlite::Result<_>>().expect("rows")
}
