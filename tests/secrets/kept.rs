//! What is kept in destinations, with the tables of landfall beside the rows, holds no secret.

#![cfg(any(feature = "delta", feature = "postgres", feature = "adbc"))]

use crate::api::Api;
use crate::keys::Keys;
use crate::search::{SECRET, found, found_below};
use crate::ways::watched;
use landfall::checkpoint::{CheckpointStore, StoreCheckpoints};
use landfall::columnar::{Batch, Columns, Decode};
use landfall::connectors::http::{ApiKey, Bearer, LinkHeader, Rest};
use landfall::landing::Landing;
use landfall::pipeline::Pipeline;
use landfall::sink::{Quarantine, Sink, Transactional};
use landfall::store::Store;
use std::path::Path;
use tempfile::TempDir;

/// A pipeline into a destination that takes what it gets, and all else into `folder`; nothing that is told or lies there has a secret.
async fn load<S>(folder: &Path, sink: S, checkpoints: impl CheckpointStore)
where
    S: Sink<Item = Batch, Promise = Transactional>,
{
    let api = Api::start(Keys::all().server()).await;
    let store = Store::local(folder).expect("a folder");
    let source = Rest::get(format!("{}/pages", api.url())).auth((Bearer::new(SECRET), ApiKey::query("key", SECRET)));
    let pipeline = Pipeline::named("rows")
        .source(source.paginate(LinkHeader::new().optional()))
        .land(Landing::in_store(&store, "raw").expect("a name"))
        .stage(Decode::pages().schema(Columns::new().int64("id")))
        .sink(sink)
        .quarantine(Quarantine::in_store(&store, "quarantine").expect("a name"))
        .checkpoints(checkpoints)
        .build()
        .expect("a pipeline");
    let (ended, told) = watched(&pipeline).await;
    let report = ended.expect("runs");
    assert!(api.signed() > 0, "nothing was sent with it");
    assert_eq!(found(format!("{report} {report:?} {told}").as_bytes()), None);
    let (wrong, bytes) = found_below(folder);
    assert!(wrong.is_empty() && bytes > 1_000, "{wrong:?}");
}

#[cfg(feature = "delta")]
#[tokio::test]
async fn a_lake_and_its_ledger_keep_no_secret() {
    use landfall::connectors::delta::DeltaTable;
    use landfall::sink::Upsert;
    let folder = TempDir::new().expect("a folder");
    let store = Store::local(folder.path()).expect("a folder");
    let table = DeltaTable::in_store(&store, "rows").expect("a name").disposition(Upsert::by(["id"]));
    load(folder.path(), table, StoreCheckpoints::new(&store, "state").expect("a name")).await;
    assert!(folder.path().join("rows/_landfall/loads").exists());
}

/// Rows, marks, ledger, versions of columns and checkpoints, as text.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_database_its_ledger_and_the_checkpoints_in_it_keep_no_secret() {
    use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable};
    use tokio_postgres::SimpleQueryMessage;
    let Ok(url) = std::env::var("LANDFALL_TEST_POSTGRES") else {
        println!("skipped: LANDFALL_TEST_POSTGRES is not set; see scripts/with-postgres");
        return;
    };
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    let ask = async |query: String| -> Vec<String> {
        let answer = client.simple_query(&query).await.unwrap_or_else(|e| panic!("{query}: {e:?}"));
        let first = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        answer.iter().filter_map(first).collect()
    };
    let schema = format!("secrets_{}", std::process::id());
    let database = Postgres::connect(&url).expect("a URL");
    let table = PostgresTable::at(&database, &format!("{schema}.rows")).expect("a name");
    let folder = TempDir::new().expect("a folder");
    load(folder.path(), table, PostgresCheckpoints::in_schema(&database, &schema).expect("a name")).await;
    let tables = ask(format!("SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")).await;
    // Records of chains are bytes, shown as the text that they mostly are.
    ask("SET bytea_output = 'escape'".to_owned()).await;
    let mut filled = Vec::new();
    for table in tables {
        let rows = ask(format!("SELECT t::text FROM {schema}.\"{table}\" AS t")).await;
        filled.extend((!rows.is_empty()).then_some(table));
        assert_eq!(found(rows.concat().as_bytes()), None);
    }
    for name in ["rows", "landfall_loads"] {
        assert!(filled.iter().any(|table| table == name), "{name} is not in {filled:?}");
    }
    assert!(filled.len() > 4, "{filled:?}");
    ask(format!("DROP SCHEMA {schema} CASCADE")).await;
}

/// The same in a database that is a file: all of its bytes are looked through.
#[cfg(feature = "adbc")]
#[tokio::test]
async fn a_database_in_a_file_keeps_no_secret() {
    use landfall::connectors::adbc::{Adbc, AdbcTable};
    let driver = |name: &str| std::env::var(format!("LANDFALL_TEST_ADBC_{name}")).ok().map(Adbc::driver);
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name).join("x.db").to_str().expect("text").to_owned();
    let databases = [
        ("duckdb", driver("DUCKDB").map(|d| d.entrypoint("duckdb_adbc_init").option("path", at("duckdb")))),
        ("sqlite", driver("SQLITE").map(|d| d.option("uri", at("sqlite")))),
    ];
    for (name, database) in databases {
        let Some(database) = database else {
            println!("skipped for {name}: see scripts/with-adbc");
            continue;
        };
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        let store = Store::local(&folder).expect("a folder");
        let checkpoints = StoreCheckpoints::new(&store, "state").expect("a name");
        load(&folder, AdbcTable::at(&database, "rows").expect("a name"), checkpoints).await;
    }
}
