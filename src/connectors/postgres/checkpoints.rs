use super::Postgres;
use super::database::Parameter;
use super::fault;
use super::name::{self, quoted};
use super::version::VersionedTables;
use crate::checkpoint::{ChainId, CheckpointStore};
use crate::error::{Error, Result};
use crate::store::{Created, ObjectPath, Store};
use async_trait::async_trait;
use bytes::Bytes;
use deadpool_postgres::Client;
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio_postgres::types::Type;

/// Checkpoint chains as rows: `landfall_chain_records` and `landfall_chain_boundaries` in a schema. Format: docs/formats.md,
/// "Chains in PostgreSQL". Tables of a newer version are refused when they are first needed (`Config`).
///
/// States of stages need a place of their own: [`with_objects`](Self::with_objects), or
/// [`PipelineBuilder::state_in`](crate::pipeline::PipelineBuilder::state_in).
///
/// ```no_run
/// use landfall::connectors::postgres::{Postgres, PostgresCheckpoints};
///
/// let checkpoints = PostgresCheckpoints::in_schema(&Postgres::from_env("STATE_URL")?, "etl")?;
/// # drop(checkpoints);
/// # Ok::<(), landfall::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PostgresCheckpoints {
    database: Postgres,
    schema: String,
    objects: Option<(Store, ObjectPath)>,
    prepared: Arc<OnceCell<()>>,
}

impl PostgresCheckpoints {
    /// Keeps chains in tables of this schema, which are made when they are needed.
    ///
    /// # Errors
    /// `Config` if it cannot be a name.
    pub fn in_schema(database: &Postgres, schema: &str) -> Result<Self> {
        name::check(schema)?;
        let (database, schema) = (database.clone(), schema.to_owned());
        Ok(Self { database, schema, objects: None, prepared: Arc::default() })
    }

    /// Keeps the states of stages in folder `prefix` of `store`.
    ///
    /// # Errors
    /// `Config` if `prefix` is not a valid object name.
    pub fn with_objects(mut self, store: &Store, prefix: &str) -> Result<Self> {
        self.objects = Some((store.clone(), ObjectPath::parse(prefix)?));
        Ok(self)
    }

    fn table(&self, name: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(name))
    }

    fn records(&self) -> String {
        self.table(RECORDS)
    }

    fn boundaries(&self) -> String {
        self.table(BOUNDARIES)
    }

    async fn try_client(&self) -> Result<Client> {
        let mut client = self.database.client().await?;
        self.prepared.get_or_try_init(|| self.prepare(&mut client)).await?;
        Ok(client)
    }

    /// Repeats what may be done twice.
    async fn again<T, R>(&self, attempt: impl Fn(Client) -> R + Send + Sync) -> Result<T>
    where
        R: Future<Output = Result<T>> + Send,
    {
        let attempt = &attempt;
        let env = self.database.own_env();
        self.database.again(env, |_| async move { attempt(self.try_client().await?).await }).await
    }

    async fn prepare(&self, client: &mut Client) -> Result<()> {
        TABLES.ensure(client, &self.schema, &self.tables()).await
    }

    /// What makes the tables. Where only one of them is gone it fails: a boundary that is made again would be 0.
    fn tables(&self) -> String {
        let (records, boundaries, comment) = (self.records(), self.boundaries(), TABLES.comment(&self.schema));
        format!(
            "CREATE TABLE {records} (
                 chain text NOT NULL, number bigint NOT NULL, record bytea NOT NULL,
                 created_at timestamptz NOT NULL DEFAULT now(),
                 PRIMARY KEY (chain, number));
             {comment};
             CREATE TABLE {boundaries} (chain text PRIMARY KEY, boundary bigint NOT NULL)"
        )
    }

    /// A number that a row has. A negative one is damage, and never taken for another: what is fenced depends on it.
    fn unsigned(&self, operation: &'static str, table: &'static str, chain: &ChainId, number: i64) -> Result<u64> {
        u64::try_from(number).map_err(|_| {
            Error::corrupt(operation, "a number is negative")
                .with("schema", &self.schema)
                .with("table", table)
                .with("chain", chain)
                .with("number", number)
                .with_hint("stop the pipeline and restore this row from a backup; do not delete it")
        })
    }
}

const RECORDS: &str = "landfall_chain_records";
const BOUNDARIES: &str = "landfall_chain_boundaries";

const TABLES: VersionedTables = VersionedTables {
    hold: "chains",
    named: RECORDS,
    version: 1,
    operation: "prepare checkpoints",
    hint: "use a newer version of landfall, or another schema for the chains of new pipelines",
};

/// The condition that a statement which is a transaction of its own survives a power loss: of the session, a pooler may have made another.
const DURABLE: &str = "pg_catalog.set_config('synchronous_commit', 'on', true) = 'on'";

fn signed(number: u64) -> Result<i64> {
    i64::try_from(number)
        .map_err(|_| Error::bug("keep checkpoints", "a number is beyond 63 bits").with("number", number))
}

#[async_trait]
impl CheckpointStore for PostgresCheckpoints {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        // A connection is waited for; the statement is sent once, because a second one would find the record of the first.
        let client = self.again(|client| async move { Ok(client) }).await?;
        let insert = format!(
            "INSERT INTO {} (chain, number, record) SELECT $1::text, $2::bigint, $3::bytea WHERE {DURABLE} ON CONFLICT DO NOTHING",
            self.records()
        );
        let (name, at, bytes) = (chain.as_str(), signed(number)?, record.as_ref());
        let created: [Parameter<'_>; 3] = [(&name, Type::TEXT), (&at, Type::INT8), (&bytes, Type::BYTEA)];
        // One statement is its own transaction: without an answer it may have happened.
        let created = client.execute_typed(&insert, &created).await;
        let created =
            created.map_err(|e| fault::commit("create checkpoint", e).with("chain", chain).with("number", number))?;
        Ok(if created == 1 { Created::New } else { Created::Exists })
    }

    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        let (select, at) =
            (format!("SELECT record FROM {} WHERE chain = $1 AND number = $2", self.records()), signed(number)?);
        let (select, at) = (&select, &at);
        self.again(|client| async move {
            let row = client.query_typed_opt(select, &[(&chain.as_str(), Type::TEXT), (at, Type::INT8)]).await;
            let row = row.map_err(|e| fault::statement("read checkpoint", e).with("chain", chain))?;
            Ok(row.map(|row| Bytes::from(row.get::<_, Vec<u8>>(0))))
        })
        .await
    }

    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
        let select = &format!("SELECT number FROM {} WHERE chain = $1 ORDER BY number", self.records());
        self.again(|client| async move {
            let rows = client.query_typed(select, &[(&chain.as_str(), Type::TEXT)]).await;
            let rows = rows.map_err(|e| fault::statement("list checkpoints", e).with("chain", chain))?;
            rows.iter().map(|row| self.unsigned("list checkpoints", RECORDS, chain, row.get(0))).collect()
        })
        .await
    }

    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        let select = &format!("SELECT boundary FROM {} WHERE chain = $1", self.boundaries());
        self.again(|client| async move {
            let row = client.query_typed_opt(select, &[(&chain.as_str(), Type::TEXT)]).await;
            let row = row.map_err(|e| fault::statement("read boundary", e).with("chain", chain))?;
            row.map_or(Ok(0), |row| self.unsigned("read boundary", BOUNDARIES, chain, row.get(0)))
        })
        .await
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        let table = self.boundaries();
        let advance = &format!(
            "INSERT INTO {table} AS b (chain, boundary) SELECT $1::text, $2::bigint WHERE {DURABLE} \
             ON CONFLICT (chain) DO UPDATE SET boundary = greatest(b.boundary, EXCLUDED.boundary)"
        );
        let to = &signed(to)?;
        // Done twice it is done once.
        self.again(|client| async move {
            let advanced = client.execute_typed(advance, &[(&chain.as_str(), Type::TEXT), (to, Type::INT8)]).await;
            advanced.map(drop).map_err(|e| fault::statement("advance boundary", e).with("chain", chain))
        })
        .await
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        let delete = &format!("DELETE FROM {} WHERE chain = $1 AND number = $2", self.records());
        let number = &signed(number)?;
        self.again(|client| async move {
            let removed = client.execute_typed(delete, &[(&chain.as_str(), Type::TEXT), (number, Type::INT8)]).await;
            removed.map(drop).map_err(|e| fault::statement("remove checkpoint", e).with("chain", chain))
        })
        .await
    }

    fn objects(&self) -> Option<(Store, ObjectPath)> {
        self.objects.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is there in databases already. It changes under a new version only, with a way from this one.
    #[test]
    fn the_tables_of_chains_are_frozen() {
        const FROZEN: &str = include_str!("../../../tests/fixtures/postgres-chains-1.sql");
        let database = Postgres::connect("postgresql://db/x?sslmode=disable").expect("a URL");
        let tables = PostgresCheckpoints::in_schema(&database, "landfall").expect("a name").tables();
        let lines: Vec<_> = tables.lines().map(str::trim).collect();
        assert_eq!(lines, FROZEN.lines().collect::<Vec<_>>());
    }
}
