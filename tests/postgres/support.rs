//! A schema of its own for each test, and short ways to load rows and to look at tables.

use landfall::columnar::{Batch, Columns, Decode};
use landfall::connectors::postgres::{Postgres, PostgresTable, PostgresWriter, StagedRows};
use landfall::env::Env;
use landfall::model::{Incarnation, Page, PartitionId, PipelineName, Reject, ShardKey, Timestamp};
use landfall::sink::{
    CommitOutcome, CommitRequest, Disposition, Enumeration, EpochContext, Mark, Sink, StagedOutput, Writer,
};
use landfall::stage::{Output, Stage};
use landfall::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

static NEXT: AtomicU64 = AtomicU64::new(0);

pub struct World {
    pub url: String,
    pub database: Postgres,
    pub schema: String,
    pub client: Client,
}

impl World {
    /// `None` if there is no server.
    pub async fn new() -> Option<Self> {
        let Ok(url) = std::env::var("LANDFALL_TEST_POSTGRES") else {
            eprintln!("skipped: LANDFALL_TEST_POSTGRES is not set; see scripts/with-postgres");
            return None;
        };
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let schema = format!("t \"{}\" {number}", std::process::id());
        let database = Postgres::connect(&url).expect("a URL").pool_size(4).expect("a size");
        Some(Self { url, database, schema, client })
    }

    pub fn table(&self, disposition: impl Into<Disposition>) -> PostgresTable {
        PostgresTable::at(&self.database, &format!("{}.orders", self.schema)).expect("a name").disposition(disposition)
    }

    /// The name of the schema, for statements.
    pub fn schema_name(&self) -> String {
        format!("\"{}\"", self.schema.replace('"', "\"\""))
    }

    /// The name of a table, for statements.
    pub fn name(&self, table: &str) -> String {
        format!("{}.\"{table}\"", self.schema_name())
    }

    /// What a query gives, as text: columns with `|`, nulls as `-`. A word in braces is a table of the schema.
    pub async fn ask(&self, query: &str) -> Vec<String> {
        let query = query.replace("{loads}", "{landfall_loads}");
        let parts = query.split('{').enumerate().map(|(n, part)| match part.split_once('}') {
            Some((table, rest)) if n > 0 => format!("{}{rest}", self.name(table)),
            _ => part.to_owned(),
        });
        let query = parts.collect::<String>();
        let messages = self.client.simple_query(&query).await.unwrap_or_else(|e| panic!("{query}: {e:?}"));
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).unwrap_or("-")).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }

    /// The tables of the schema that hold rows which are not visible yet.
    pub async fn staged(&self) -> Vec<String> {
        let query = format!(
            "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = '{}' AND relname LIKE '\\_lf\\_%' AND relkind = 'r'",
            self.schema
        );
        self.ask(&query).await
    }
}

pub fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("orders").expect("a name"), shard: 0 }
}

/// JSON lines as a batch.
pub fn batch(columns: &Columns, lines: &str) -> Batch {
    let records = lines.lines().filter(|l| !l.trim().is_empty()).collect::<Vec<_>>().join(",");
    let count = lines.lines().filter(|l| !l.trim().is_empty()).count() as u64;
    let page = Page::new(PartitionId("all".into()), format!("[{records}]"), count, Timestamp::from_micros(1));
    let mut decode = Decode::pages().schema(columns.clone());
    let mut out = Output::new();
    decode.apply(page, &mut out).expect("decodes");
    let (mut batches, rejects, _) = out.into_parts();
    assert!(rejects.is_empty(), "{rejects:?}");
    batches.remove(0)
}

/// A load that goes on from epoch to epoch.
pub struct Load {
    pub sink: Arc<PostgresTable>,
    pub shard: ShardKey,
    pub columns: Columns,
    pub generation: u64,
    pub epoch: u64,
    pub previous: Option<u64>,
    pub enumeration: Option<u64>,
    pub clock: Env,
}

impl Load {
    pub fn new(sink: PostgresTable, columns: Columns) -> Self {
        let (sink, clock) = (Arc::new(sink), landfall::testkit::test_env(1));
        let (generation, epoch, previous, enumeration) = (1, 0, None, None);
        Self { sink, shard: shard(), columns, generation, epoch, previous, enumeration, clock }
    }

    pub fn context(&self, whole: bool) -> EpochContext {
        let enumeration = self.enumeration.map(|number| Enumeration { whole, ..Enumeration::begun(number) });
        let must_commit = enumeration.is_some_and(|e| e.whole);
        EpochContext {
            enumeration,
            must_commit,
            ..EpochContext::new(self.shard.clone(), self.generation, self.epoch, self.clock.clone())
        }
    }

    pub async fn open(&mut self, whole: bool) -> Result<PostgresWriter> {
        self.epoch += 1;
        self.sink.open(self.context(whole)).await
    }

    /// Stages lines of JSON; gives what was refused.
    pub async fn stage(&mut self, lines: &str) -> Result<(Option<StagedOutput<StagedRows>>, Vec<Reject>)> {
        let batch = batch(&self.columns, lines);
        let mut writer = self.open(false).await?;
        let rejects = writer.write(batch).await?;
        Ok((writer.finish().await?, rejects))
    }

    pub fn request(&self, staged: &StagedRows, whole: bool) -> CommitRequest<StagedRows> {
        let digest = format!("{:?}", serde_json::to_string(staged));
        let mark =
            Mark { incarnation: Incarnation("life".into()), generation: self.generation, epoch: self.epoch, digest };
        let enumeration = self.enumeration.map(|number| Enumeration { whole, ..Enumeration::begun(number) });
        CommitRequest { enumeration, ..CommitRequest::new(self.shard.clone(), mark, self.previous, staged.clone()) }
    }

    pub async fn commit(&mut self, staged: &StagedRows, whole: bool) -> Result<CommitOutcome> {
        let outcome = self.sink.commit(&self.clock, self.request(staged, whole)).await?;
        self.previous = Some(self.epoch);
        Ok(outcome)
    }

    /// Loads lines of JSON as one epoch.
    pub async fn load(&mut self, lines: &str) -> Result<()> {
        let (output, rejects) = self.stage(lines).await?;
        assert!(rejects.is_empty(), "{rejects:?}");
        let output = output.ok_or_else(|| Error::bug("load", "nothing staged"))?;
        assert_eq!(self.commit(&output.staged, false).await?, CommitOutcome::Done);
        Ok(())
    }

    /// Makes the enumeration whole.
    pub async fn whole(&mut self) -> Result<()> {
        let writer = self.open(true).await?;
        let output = writer.finish().await?.expect("a whole enumeration is something");
        assert_eq!(self.commit(&output.staged, true).await?, CommitOutcome::Done);
        Ok(())
    }
}
