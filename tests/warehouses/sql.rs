//! Warehouses that are asked, and changed behind landfall's back, in SQL.

use crate::adbc::{Driver, Through};
use crate::warehouse::{Server, Warehouse, quoted};
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

    /// What makes the control tables those of a newer version.
    const NEWER: &'static str;

    /// The name of the schema, for statements.
    fn schema(&self) -> Option<String>;

    /// What a statement gives, as text: columns with `|`, nulls as `-`. A word in braces is a table.
    async fn sql(&self, statement: &str) -> Vec<String>;

    /// The tables that hold rows which are not visible yet.
    async fn waiting(&self) -> Vec<String>;

    /// The same, reached over another connection string.
    fn over(&self, url: &str) -> Self;

    /// The same as another user of the server reaches it.
    fn as_user(&self, user: &str) -> Self {
        self.over(&server().replace("landfall@", &format!("{user}@")))
    }

    /// Makes a table as somebody else does.
    async fn made(&self, statement: &str) {
        if let Some(schema) = self.schema() {
            self.sql(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await;
        }
        self.sql(statement).await;
    }
}

/// The URL of the server.
pub fn server() -> String {
    std::env::var("LANDFALL_TEST_POSTGRES").expect("is there")
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
    const NEWER: &'static str = "COMMENT ON TABLE {landfall_marks} IS 'landfall marks, version 2'";

    fn schema(&self) -> Option<String> {
        Some(quoted(&self.schema))
    }

    async fn sql(&self, statement: &str) -> Vec<String> {
        self.ask(&with_names(statement, self.schema().as_deref())).await
    }

    async fn waiting(&self) -> Vec<String> {
        self.tables("\\_lf\\_%").await
    }

    fn over(&self, url: &str) -> Self {
        Self::over(self, url)
    }
}

#[async_trait]
impl<D: Driver> Sql for Through<D> {
    const ENGINE: Engine = D::ENGINE;
    const KEY: &'static str = "";
    const NEWER: &'static str = "UPDATE {landfall_version} SET version = 2";

    fn schema(&self) -> Option<String> {
        self.schema.as_deref().map(quoted)
    }

    async fn sql(&self, statement: &str) -> Vec<String> {
        self.ask(&with_names(statement, self.schema().as_deref())).await
    }

    async fn waiting(&self) -> Vec<String> {
        self.tables().await.into_iter().filter(|name| name.starts_with("_lf_")).collect()
    }

    fn over(&self, url: &str) -> Self {
        Self::over(self, url)
    }
}
