//! The warehouses, as the cases see them.

use landfall::async_trait;
use landfall::columnar::Batch;
use landfall::columnar::arrow::array::ArrayRef;
use landfall::columnar::arrow::compute::cast;
use landfall::columnar::arrow::datatypes::DataType;
use landfall::columnar::arrow::util::display::{ArrayFormatter, FormatOptions};
use landfall::connectors::delta::DeltaTable;
use landfall::connectors::postgres::{Postgres, PostgresCheckpoints, PostgresTable, PostgresTables};
use landfall::sink::{Disposition, ExactlyOnce, Sink, TableSet, Tables, Transactional};
use landfall::store::{ObjectPath, Store};
use landfall::testkit::{Effect, FaultProxy, Faults, test_env};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Where tables are.
#[async_trait]
pub trait Warehouse: Send + Sync + Sized + 'static {
    type Sink: Sink<Item = Batch, Promise = Transactional>;

    /// Tables `orders` and `items` as one sink.
    type Set: Sink<Item = Tables<Batch>, Promise: ExactlyOnce>;

    /// Its name, for figures.
    const NAME: &'static str;

    /// Whether it is a server, whose messages are not the same in each history.
    const IS_SERVER: bool;

    /// Whether the tables of a set change in one step.
    const SET_IS_ATOMIC: bool = false;

    /// A table, as one process reaches it.
    fn sink(&self, table: &str, disposition: impl Into<Disposition>) -> Self::Sink;

    /// A table that is not made, and is given no columns.
    fn frozen(&self, table: &str, disposition: impl Into<Disposition>) -> Self::Sink;

    /// Parents and children.
    fn set(&self, orders: impl Into<Disposition>, items: impl Into<Disposition>) -> Self::Set;

    /// Whether it has the disposition.
    fn offers(&self, disposition: &Disposition) -> bool;

    /// The rows of a table as text, sorted: values with `|`, nulls as `-`. Empty if there is no table.
    async fn rows(&self, table: &str, columns: &str) -> Vec<String>;

    /// The names of the columns of a table that are not landfall's own, sorted.
    async fn columns(&self, table: &str) -> Vec<String>;

    /// How many loads the ledger of a table has.
    async fn loads(&self, table: &str) -> usize;

    /// Takes away a part of what waits to be made visible.
    async fn lose_what_waits(&self, table: &str);

    /// The same as a process reaches it that has these faults.
    async fn reached_by(&self, faults: &Faults) -> Self;

    /// Where it keeps checkpoints, if it can.
    fn checkpoints(&self) -> Option<PostgresCheckpoints>;

    /// Takes away what was loaded.
    async fn leave(&self);
}

/// Tables in the Delta format, in memory.
pub struct Delta {
    pub store: Store,
}

impl Delta {
    pub fn new() -> Self {
        Self { store: Store::memory() }
    }

    fn table(&self, table: &str) -> DeltaTable {
        DeltaTable::in_store(&self.store, table).expect("a name").lanes(1)
    }

    async fn log(&self, table: &str) -> Vec<serde_json::Value> {
        let log = ObjectPath::parse(&format!("{table}/_delta_log")).expect("a name");
        let mut lines = Vec::new();
        for object in self.store.list(&log).await.expect("a list") {
            if object.path.as_str().ends_with(".json") {
                let body = self.store.get(&object.path, None).await.expect("readable").expect("there");
                let text = String::from_utf8_lossy(&body).into_owned();
                lines.extend(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>());
            }
        }
        lines
    }
}

#[async_trait]
impl Warehouse for Delta {
    type Sink = DeltaTable;
    type Set = TableSet<Batch>;

    const NAME: &'static str = "delta";
    const IS_SERVER: bool = false;

    fn sink(&self, table: &str, disposition: impl Into<Disposition>) -> DeltaTable {
        self.table(table).disposition(disposition)
    }

    fn frozen(&self, table: &str, disposition: impl Into<Disposition>) -> DeltaTable {
        self.sink(table, disposition).frozen()
    }

    fn set(&self, orders: impl Into<Disposition>, items: impl Into<Disposition>) -> TableSet<Batch> {
        TableSet::new().table("orders", self.sink("orders", orders)).table("items", self.sink("items", items))
    }

    fn offers(&self, disposition: &Disposition) -> bool {
        !disposition.keeps_deleted()
    }

    async fn rows(&self, table: &str, columns: &str) -> Vec<String> {
        let mut rows = Vec::new();
        let options = FormatOptions::new().with_null("-");
        for batch in self.table(table).read_batches().await.expect("readable") {
            // Times as numbers: their text needs the zones of the world.
            let plain = |column: &ArrayRef| match column.data_type() {
                DataType::Timestamp(..) => cast(column, &DataType::Int64).expect("a number"),
                _ => Arc::clone(column),
            };
            let named: Vec<_> = columns.split(", ").map(|name| batch.column_by_name(name).map(plain)).collect();
            let format = |column| ArrayFormatter::try_new(column, &options).expect("any type");
            let formats: Vec<_> = named.iter().map(|column| column.as_deref().map(format)).collect();
            rows.extend((0..batch.num_rows()).map(|row| {
                let value = |format: &Option<ArrayFormatter<'_>>| {
                    format.as_ref().map_or_else(|| "-".to_owned(), |format| format.value(row).to_string())
                };
                formats.iter().map(value).collect::<Vec<_>>().join("|")
            }));
        }
        rows.sort_unstable();
        rows
    }

    async fn columns(&self, table: &str) -> Vec<String> {
        let log = self.log(table).await;
        let newest = log.iter().rev().find_map(|line| line.pointer("/metaData/schemaString")?.as_str());
        let schema: serde_json::Value = serde_json::from_str(newest.unwrap_or("{\"fields\":[]}")).expect("JSON");
        let fields = schema["fields"].as_array().expect("fields").iter();
        own_aside(fields.map(|field| field["name"].as_str().expect("a name").to_owned()))
    }

    async fn loads(&self, table: &str) -> usize {
        self.log(table).await.iter().filter(|line| line.pointer("/commitInfo/landfall").is_some()).count()
    }

    async fn lose_what_waits(&self, table: &str) {
        let log = self.log(table).await;
        let added = log.iter().filter_map(|line| line.pointer("/add/path")?.as_str());
        let added: HashSet<String> = added.map(|path| format!("{table}/{path}")).collect();
        let folder = ObjectPath::parse(table).expect("a name");
        // The rows of the table have names that tell of shard, generation and epoch: the last one is the newest.
        let waits = self.store.list(&folder).await.expect("a list").into_iter().map(|object| object.path);
        let waits = waits.filter(|path| path.file_name().starts_with("landfall-") && !added.contains(path.as_str()));
        let newest = waits.max_by_key(|path| path.to_string()).expect("something waits");
        self.store.delete(&newest).await.expect("deletes");
    }

    async fn reached_by(&self, faults: &Faults) -> Self {
        Self { store: faults.store(&self.store) }
    }

    fn checkpoints(&self) -> Option<PostgresCheckpoints> {
        None
    }

    async fn leave(&self) {}
}

/// What a process with faults reaches the server of `url` through, and the connection string.
pub fn before(url: &str, faults: &Faults) -> (FaultProxy, String) {
    let upstream = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a URL").0;
    let proxy = FaultProxy::start(upstream.parse().expect("an address"), faults, changes).expect("a free port");
    // Who stands still with a transaction open is not waited for.
    let url = url.replace(upstream, &proxy.address().to_string());
    (proxy, format!("{url}&options=-c%20idle_in_transaction_session_timeout%3D200ms"))
}

/// What a message to PostgreSQL changes. See "Message Formats" in the documents of its protocol.
fn changes(message: &[u8], heard: &[u8]) -> Option<Effect> {
    let kinds = kinds(message).unwrap_or_default();
    // `X` says goodbye.
    if message.first() == Some(&b'X') {
        return None;
    }
    // The first message of a connection has no kind, but its length.
    let connects = message.first() == Some(&0);
    let prepares = !kinds.is_empty() && kinds.iter().all(|kind| b"PDSHC".contains(kind));
    let begins =
        kinds == *b"Q" && [&b"START TRANSACTION"[..], b"BEGIN"].iter().any(|words| message[5..].starts_with(words));
    // Nothing is left of a transaction that does not come to its commit. The server has said that it is in one.
    let in_transaction = heard.ends_with(b"Z\0\0\0\x05T") && !message.windows(6).any(|these| these == b"COMMIT");
    Some(if connects || prepares || begins || in_transaction { Effect::None } else { Effect::Whole })
}

/// The kinds of the messages that were sent at once, if they are whole.
fn kinds(mut messages: &[u8]) -> Option<Vec<u8>> {
    let mut kinds = Vec::new();
    while let Some((kind, rest)) = messages.split_first() {
        let length = u32::from_be_bytes(*rest.first_chunk()?);
        messages = rest.get(usize::try_from(length).ok()?..)?;
        kinds.push(*kind);
    }
    Some(kinds)
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Tables in a schema of their own of a PostgreSQL server.
pub struct Server {
    pub url: String,
    pub database: Postgres,
    pub schema: String,
    client: Arc<Client>,
    /// What a process with faults reaches it through.
    _proxy: Option<FaultProxy>,
}

/// The name of a schema that nobody else has, with all in it that a name can have.
pub fn new_schema() -> String {
    format!("w \"{}\" {}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst))
}

/// A name, for statements.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Server {
    /// `None` if there is no server.
    pub async fn new() -> Option<Self> {
        let Ok(url) = std::env::var("LANDFALL_TEST_POSTGRES") else {
            eprintln!("skipped: LANDFALL_TEST_POSTGRES is not set; see scripts/with-postgres");
            return None;
        };
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        Some(Self::at(url, new_schema(), Arc::new(client)))
    }

    /// Another schema of the same server.
    pub fn beside(&self) -> Self {
        Self::at(self.url.clone(), new_schema(), Arc::clone(&self.client))
    }

    /// The tables as they are reached over a connection string; what the tests themselves ask goes straight to the server.
    fn at(url: String, schema: String, client: Arc<Client>) -> Self {
        let database = Postgres::connect(&url).expect("a URL").pool_size(4).expect("a size").env(test_env(5));
        Self { url, database, schema, client, _proxy: None }
    }

    /// The same schema, reached over another connection string.
    pub fn over(&self, url: &str) -> Self {
        Self::at(url.to_owned(), self.schema.clone(), Arc::clone(&self.client))
    }

    fn name(&self, table: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(table))
    }

    pub async fn ask(&self, query: &str) -> Vec<String> {
        let query = &query.replace("{schema}", &quoted(&self.schema));
        let messages = self.client.simple_query(query).await.unwrap_or_else(|e| panic!("{query}: {e:?}"));
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).unwrap_or("-")).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }

    /// The tables of the schema whose names are like `pattern`.
    pub async fn tables(&self, pattern: &str) -> Vec<String> {
        let query = format!(
            "SELECT tablename FROM pg_tables WHERE schemaname = '{}' AND tablename LIKE '{pattern}'",
            self.schema
        );
        self.ask(&query).await
    }
}

#[async_trait]
impl Warehouse for Server {
    type Sink = PostgresTable;
    type Set = PostgresTables;

    const NAME: &'static str = "postgres";
    const IS_SERVER: bool = true;
    const SET_IS_ATOMIC: bool = true;

    fn sink(&self, table: &str, disposition: impl Into<Disposition>) -> PostgresTable {
        let table = PostgresTable::at(&self.database, &format!("{}.{table}", self.schema)).expect("a name");
        table.disposition(disposition)
    }

    fn frozen(&self, table: &str, disposition: impl Into<Disposition>) -> PostgresTable {
        self.sink(table, disposition).frozen()
    }

    fn set(&self, orders: impl Into<Disposition>, items: impl Into<Disposition>) -> PostgresTables {
        PostgresTables::new().table("orders", self.sink("orders", orders)).table("items", self.sink("items", items))
    }

    fn offers(&self, _disposition: &Disposition) -> bool {
        true
    }

    async fn rows(&self, table: &str, columns: &str) -> Vec<String> {
        // It is asked for after each of thousands of histories, and a view takes long.
        let there = format!("SELECT 1 WHERE pg_catalog.to_regclass('{}') IS NOT NULL", self.name(table));
        if self.ask(&there).await.is_empty() {
            return Vec::new();
        }
        let mut rows = self.ask(&format!("SELECT {columns} FROM {}", self.name(table))).await;
        rows.sort_unstable();
        rows
    }

    async fn columns(&self, table: &str) -> Vec<String> {
        let query = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = '{}' AND table_name = '{table}'",
            self.schema
        );
        own_aside(self.ask(&query).await.into_iter())
    }

    async fn loads(&self, table: &str) -> usize {
        if self.tables("landfall_loads").await.is_empty() {
            return 0;
        }
        let query = format!("SELECT 1 FROM {} WHERE table_name LIKE '%{table}%'", self.name("landfall_loads"));
        self.ask(&query).await.len()
    }

    async fn lose_what_waits(&self, _table: &str) {
        let waiting = self.tables("\\_lf\\_%").await;
        let waiting = waiting.first().expect("something waits");
        let table = self.name(waiting);
        self.ask(&format!("DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} LIMIT 1)")).await;
    }

    async fn reached_by(&self, faults: &Faults) -> Self {
        let (proxy, url) = before(&self.url, faults);
        Self { _proxy: Some(proxy), ..self.over(&url) }
    }

    fn checkpoints(&self) -> Option<PostgresCheckpoints> {
        Some(PostgresCheckpoints::in_schema(&self.database, &self.schema).expect("a name"))
    }

    /// In a catalogue with the tables of a thousand schemas, each look takes its time.
    async fn leave(&self) {
        self.ask("DROP SCHEMA IF EXISTS {schema} CASCADE").await;
    }
}

/// The columns that are not landfall's own.
pub fn own_aside(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("_landfall_")).collect();
    names.sort_unstable();
    names
}
