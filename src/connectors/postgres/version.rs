//! The version of tables that are landfall's own: the comment on one of them says it, for all that are made with it.

use super::database::{self, Session, schema_lock};
use super::fault;
use super::name::{literal, quoted};
use crate::error::{Error, Result};
use deadpool_postgres::Client;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

/// Tables of a schema that are made together.
#[derive(Clone, Copy, Debug)]
pub(super) struct VersionedTables {
    /// What they hold, in the comment: `landfall <hold>, version <version>`.
    pub hold: &'static str,
    /// The one that has the comment.
    pub named: &'static str,
    /// The version that this crate writes, and the newest that it reads.
    pub version: u32,
    /// In errors, what is under way.
    pub operation: &'static str,
    /// In errors, what to do if the version is unknown.
    pub hint: &'static str,
}

impl VersionedTables {
    /// What says the version: a statement for the transaction that makes the tables.
    pub(super) fn comment(&self, schema: &str) -> String {
        let comment = literal(&format!("{}{}", self.prefix(), self.version));
        format!("COMMENT ON TABLE {}.{} IS {comment}", quoted(schema), quoted(self.named))
    }

    fn prefix(&self) -> String {
        format!("landfall {}, version ", self.hold)
    }

    /// Whether they are there. It needs no right on them.
    ///
    /// # Errors
    /// `Config` if they are of a newer version, or if the comment does not say one.
    pub(super) async fn exist(&self, client: &impl Session, schema: &str) -> Result<bool> {
        let look = "SELECT pg_catalog.obj_description(c.oid, 'pg_class'::name) FROM pg_catalog.pg_class c \
                    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
        let found = client.session().query_typed_opt(look, &[(&schema, Type::TEXT), (&self.named, Type::TEXT)]).await;
        let Some(row) = found.map_err(|e| fault::statement(self.operation, e).with("schema", schema))? else {
            return Ok(false);
        };
        self.check(schema, &row.get::<_, Option<String>>(0).unwrap_or_default()).map(|()| true)
    }

    /// Makes sure that `comment` says a version that this crate knows.
    ///
    /// # Errors
    /// `Config` if not.
    pub(super) fn check(&self, schema: &str, comment: &str) -> Result<()> {
        let version = comment.strip_prefix(&self.prefix()).and_then(|version| version.parse::<u32>().ok());
        if version.is_some_and(|version| (1..=self.version).contains(&version)) {
            return Ok(());
        }
        Err(Error::config(self.operation, "the tables are of a version that this crate does not know")
            .with("schema", schema)
            .with("table", self.named)
            .with("comment", comment)
            .with_hint(self.hint))
    }

    /// Makes them by `statements`, and their schema, if they are not there. What is there needs no right to make it.
    ///
    /// # Errors
    /// As [`exist`](Self::exist).
    pub(super) async fn ensure(&self, client: &mut Client, schema: &str, statements: &str) -> Result<()> {
        if self.exist(&*client, schema).await? {
            return Ok(());
        }
        let failed = |e| fault::statement(self.operation, e).with("schema", schema);
        let transaction = database::begin(client).await.map_err(failed)?;
        transaction.batch_execute(&schema_lock(self.hold)).await.map_err(failed)?;
        // Who held the lock has made them, perhaps in a newer version.
        if self.exist(&transaction, schema).await? {
            return Ok(());
        }
        let there = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
        if transaction.query_typed_opt(there, &[(&schema, Type::TEXT)]).await.map_err(failed)?.is_none() {
            let create = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema));
            transaction.batch_execute(&create).await.map_err(failed)?;
        }
        transaction.batch_execute(statements).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}
