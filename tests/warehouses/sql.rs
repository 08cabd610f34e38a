//! Warehouses that are asked, and changed behind landfall's back, in SQL.

use crate::adbc::{Driver, Through};
use crate::warehouse::{Server, Warehouse};
use landfall::async_trait;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    DuckDb,
    Sqlite,
    Postgres,
}

impl Engine {
    /// A server of several users.
    pub const fn is_server(self) -> bool {
        matches!(self, Self::Postgres)
    }
}

#[async_trait]
pub trait Sql: Warehouse {
    const ENGINE: Engine;

    /// What makes a column the key of a table that somebody else makes, where the sink needs that.
    const KEY: &'static str;

    /// The name of the schema, for statements.
    fn schema(&self) -> Option<String>;

    /// What a statement gives, as text: columns with `|`, nulls as `-`. A word in braces is a table.
    async fn sql(&self, statement: &str) -> Vec<String>;

    /// The tables that hold rows which are not visible yet.
    async fn waiting(&self) -> Vec<String>;

    /// The same as another user of the server reaches it.
    fn as_user(&self, user: &str) -> Self;

    /// Makes a table as somebody else does.
    async fn made(&self, statement: &str) {
        if let Some(schema) = self.schema() {
            self.sql(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await;
        }
        self.sql(statement).await;
    }
}

/// A statement with the names of tables for the words in braces.
pub fn with_names(statement: &str, schema: Option<&str>) -> String {
    let parts = statement.split('{').enumerate().map(|(n, part)| match part.split_once('}') {
        Some((table, rest)) if n > 0 => match schema {
            Some(schema) => format!("{schema}.\"{table}\"{rest}"),
            None => format!("\"{table}\"{rest}"),
        },
        _ => part.to_owned(),
    });
    parts.collect()
}

#[async_trait]
impl Sql for Server {
    const ENGINE: Engine = Engine::Postgres;
    const KEY: &'static str = " PRIMARY KEY";

    fn schema(&self) -> Option<String> {
        Some(format!("\"{}\"", self.schema))
    }

    async fn sql(&self, statement: &str) -> Vec<String> {
        self.ask(&with_names(statement, self.schema().as_deref())).await
    }

    async fn waiting(&self) -> Vec<String> {
        self.tables("\\_lf\\_%").await
    }

    fn as_user(&self, user: &str) -> Self {
        self.over(self.url.replace("landfall@", &format!("{user}@")))
    }
}

#[async_trait]
impl<D: Driver> Sql for Through<D> {
    const ENGINE: Engine = D::ENGINE;
    const KEY: &'static str = "";

    fn schema(&self) -> Option<String> {
        self.schema.as_ref().map(|schema| format!("\"{schema}\""))
    }

    async fn sql(&self, statement: &str) -> Vec<String> {
        self.ask(&with_names(statement, self.schema().as_deref())).await
    }

    async fn waiting(&self) -> Vec<String> {
        self.tables().await.into_iter().filter(|name| name.starts_with("_lf_")).collect()
    }

    fn as_user(&self, user: &str) -> Self {
        let url = std::env::var("LANDFALL_TEST_POSTGRES").expect("is there");
        self.over(&url.replace("landfall@", &format!("{user}@")))
    }
}
