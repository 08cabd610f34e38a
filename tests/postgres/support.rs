//! A schema of its own for each test, and short ways to load rows and to look at tables.

use landfall::connectors::postgres::{Postgres, PostgresTable};
use landfall::sink::Disposition;
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

/// A load into such a table.
pub type Load = crate::load::Load<PostgresTable>;
