//! What outlives a process is a format: each is frozen here as version 1 wrote it, read by today's code, and refused if it says more.

use landfall::ErrorKind;
use landfall::model::{Incarnation, PipelineName, ShardKey};
use landfall::sink::{CommitOutcome, CommitRequest, Mark, Sink};
use landfall::testkit::test_env;
use landfall_stations::{BytesRead, Database, SqliteReadings, StagedReadings};
use std::path::PathBuf;
use tempfile::TempDir;

/// What a checkpoint holds of an epoch that is prepared, and of the place in a log.
const BATCH: &str = r#"{"name":"weather/0000/g1/7/0","rows":1}"#;
const POSITION: &str = "41";

/// A file in which an epoch was committed, and another one is prepared.
const FILE: &str = r#"
    CREATE TABLE readings (station TEXT NOT NULL, time TEXT NOT NULL, celsius REAL NOT NULL);
    CREATE TABLE landfall_staged (
        batch TEXT NOT NULL, shard TEXT NOT NULL, generation INTEGER NOT NULL,
        station TEXT NOT NULL, time TEXT NOT NULL, celsius REAL NOT NULL
    );
    CREATE TABLE landfall_marks (shard TEXT PRIMARY KEY, mark TEXT NOT NULL);
    CREATE TABLE landfall_records (
        chain TEXT NOT NULL, number INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (chain, number)
    );
    CREATE TABLE landfall_boundaries (chain TEXT PRIMARY KEY, number INTEGER NOT NULL);
    PRAGMA user_version = 1;
    INSERT INTO readings VALUES ('oslo', '06:00', -3.5);
    INSERT INTO landfall_staged VALUES ('weather/0000/g1/7/0', 'weather/0000', 1, 'lima', '06:00', 17.25);
    INSERT INTO landfall_marks VALUES ('weather/0000', '{"incarnation":"first","generation":1,"epoch":6,"digest":"5f1c"}');
"#;

/// A file in which `sql` has made what is there.
fn file(sql: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("readings.db");
    rusqlite::Connection::open(&file).and_then(|made| made.execute_batch(sql)).expect("a file");
    (folder, file)
}

#[test]
fn what_a_checkpoint_holds_is_read_and_written_as_it_was() {
    let batch: StagedReadings = serde_json::from_str(BATCH).expect("it can be read");
    assert_eq!(serde_json::to_string(&batch).expect("JSON"), BATCH);
    let position: BytesRead = serde_json::from_str(POSITION).expect("it can be read");
    assert_eq!((position, serde_json::to_string(&position).expect("JSON").as_str()), (BytesRead(41), POSITION));
}

#[test]
fn a_batch_that_says_more_or_less_is_refused() {
    for other in [BATCH.replace('}', r#","table":"readings"}"#), BATCH.replace(r#","rows":1"#, "")] {
        assert!(serde_json::from_str::<StagedReadings>(&other).is_err(), "{other}");
    }
}

#[tokio::test]
async fn an_epoch_that_an_older_process_prepared_is_committed() {
    let (_folder, file) = file(FILE);
    let database = Database::open(&file).expect("its version is known");
    let sink = SqliteReadings::new(&database);
    let shard = ShardKey { pipeline: PipelineName::new("weather").expect("a name"), shard: 0 };
    let mark = Mark { incarnation: Incarnation("first".into()), generation: 1, epoch: 7, digest: "b2".into() };
    let batch = serde_json::from_str(BATCH).expect("it can be read");
    let request = CommitRequest::new(shard, mark, Some(6), batch);
    assert_eq!(sink.commit(&test_env(1), request).await.expect("commit"), CommitOutcome::Done);
    assert_eq!(database.rows().await.expect("rows"), ["oslo,06:00,-3.5", "lima,06:00,17.25"]);
}

#[test]
fn tables_of_another_version_are_refused_and_left_alone() {
    let (_folder, file) = file("PRAGMA user_version = 2; CREATE TABLE readings (reading TEXT NOT NULL);");
    let error = Database::open(&file).expect_err("it is newer");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let reader = rusqlite::Connection::open(&file).expect("the file");
    let tables: u32 = reader.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).expect("its tables");
    assert_eq!(tables, 1);
}
