//! What the sink keeps beside the rows, in the same transaction: the mark of each shard, and the ledger of loads. Written
//! description: docs/formats.md, "Tables in PostgreSQL".

use super::database::{Parameter, Session, schema_lock};
use super::fault;
use super::name::{TableName, quoted};
use super::types::TableColumn;
use super::version::VersionedTables;
use super::writer::StagedRows;
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::model::{Incarnation, ShardKey};
use crate::sink::{CommitRequest, Mark};
use deadpool_postgres::{Client, Transaction};
use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

pub(super) const TABLES: VersionedTables = VersionedTables {
    hold: "marks",
    named: "landfall_marks",
    version: 1,
    operation: "prepare control tables",
    hint: "use a newer version of landfall, or a schema of its own with `control_schema`",
};

/// The control tables of a schema.
#[derive(Clone, Debug)]
pub(super) struct Control {
    schema: String,
}

/// The mark of a shard, and what is kept of an enumeration under way.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub mark: Option<Mark>,
    /// Its number, and the rows that were put aside for it.
    pub enumeration: Option<(i64, i64)>,
}

impl Held {
    /// What the row of a mark says.
    ///
    /// # Errors
    /// `Corrupt` if fields are missing or negative.
    pub(super) fn read(
        incarnation: Option<String>,
        generation: Option<i64>,
        epoch: Option<i64>,
        digest: Option<String>,
        enumeration: Option<i64>,
        enumeration_rows: Option<i64>,
    ) -> Result<Self> {
        let damaged = || {
            Error::corrupt("read mark", "a mark has fields that are missing or negative")
                .with_hint("restore the row of `landfall_marks` from a backup")
        };
        let number = |n: Option<i64>| n.map(u64::try_from).transpose().map_err(|_| damaged());
        let mark = match (incarnation, number(generation)?, number(epoch)?, digest) {
            (Some(incarnation), Some(generation), Some(epoch), Some(digest)) => {
                Some(Mark { incarnation: Incarnation(incarnation), generation, epoch, digest })
            }
            (None, None, None, None) => None,
            _ => return Err(damaged()),
        };
        // What waits of an enumeration that is not known is dropped, and its rows would be swept.
        let enumeration = match (enumeration, enumeration_rows) {
            (Some(number @ 0..), Some(rows @ 0..)) => Some((number, rows)),
            (None, None) => None,
            _ => return Err(damaged()),
        };
        Ok(Self { mark, enumeration })
    }
}

impl Control {
    pub(super) fn new(schema: &str) -> Self {
        Self { schema: schema.to_owned() }
    }

    fn table(&self, name: &str) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(name))
    }

    /// Makes the tables if they are not there.
    ///
    /// # Errors
    /// `Config` if they are of a newer version, or do not say theirs.
    pub(super) async fn prepare(&self, client: &mut Client) -> Result<()> {
        TABLES.ensure(client, &self.schema, &self.tables()).await
    }

    /// What makes the tables.
    fn tables(&self) -> String {
        let (marks, loads, schema) =
            (self.table("landfall_marks"), self.table("landfall_loads"), self.table("landfall_schema"));
        let comment = TABLES.comment(&self.schema);
        format!(
            "CREATE TABLE IF NOT EXISTS {marks} (
                 table_name text NOT NULL, pipeline text NOT NULL, shard bigint NOT NULL,
                 incarnation text, generation bigint, epoch bigint, digest text,
                 enumeration bigint, enumeration_rows bigint,
                 PRIMARY KEY (table_name, pipeline, shard));
             {comment};
             CREATE TABLE IF NOT EXISTS {loads} (
                 load_id text NOT NULL, table_name text NOT NULL, pipeline text NOT NULL, shard bigint NOT NULL,
                 epoch bigint NOT NULL, generation bigint NOT NULL, incarnation text NOT NULL, digest text NOT NULL,
                 disposition text NOT NULL, schema_version integer NOT NULL,
                 rows_staged bigint NOT NULL, rows_inserted bigint NOT NULL, rows_updated bigint NOT NULL, rows_deleted bigint NOT NULL,
                 position json NOT NULL, ledger jsonb NOT NULL, enumeration bigint, whole boolean,
                 committed_at timestamptz NOT NULL DEFAULT now(),
                 PRIMARY KEY (table_name, load_id));
             CREATE TABLE IF NOT EXISTS {schema} (
                 table_name text NOT NULL, version integer NOT NULL, load_id text NOT NULL, columns jsonb NOT NULL,
                 since timestamptz NOT NULL DEFAULT now(),
                 PRIMARY KEY (table_name, version))"
        )
    }

    /// What is held for a shard. If `lock`, whoever else commits for it waits until the transaction has ended, and then finds the
    /// mark that it has set.
    pub(super) async fn held(
        &self,
        client: &impl Session,
        table: &TableName,
        shard: &ShardKey,
        lock: bool,
    ) -> Result<Held> {
        let (client, failed) =
            (client.session(), |e| fault::statement("read mark", e).with("table", table).with("shard", shard));
        let marks = self.table("landfall_marks");
        let (name, pipeline, number) = (table.to_string(), shard.pipeline.to_string(), i64::from(shard.shard));
        let of_shard: [Parameter<'_>; 3] = [(&name, Type::TEXT), (&pipeline, Type::TEXT), (&number, Type::INT8)];
        if lock {
            let insert =
                format!("INSERT INTO {marks} (table_name, pipeline, shard) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
            client.execute_typed(&insert, &of_shard).await.map_err(failed)?;
        }
        let select = format!(
            "SELECT incarnation, generation, epoch, digest, enumeration, enumeration_rows FROM {marks} \
             WHERE table_name = $1 AND pipeline = $2 AND shard = $3{}",
            if lock && !on(Defect::MarkIsNotLocked) { " FOR UPDATE" } else { "" }
        );
        let Some(row) = client.query_typed_opt(&select, &of_shard).await.map_err(failed)? else {
            return Ok(Held::default());
        };
        Held::read(row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5))
            .map_err(|e| e.with("table", table).with("shard", shard))
    }

    /// Whether the control tables are there.
    ///
    /// # Errors
    /// `Config` if they are of a newer version, or do not say theirs.
    pub(super) async fn exist(&self, client: &Client) -> Result<bool> {
        TABLES.exist(client, &self.schema).await
    }

    /// Sets the mark, and enters the load, within the transaction that changes the rows.
    pub(super) async fn enter(
        &self,
        transaction: &Transaction<'_>,
        table: &TableName,
        request: &CommitRequest<StagedRows>,
        load: &Entry<'_>,
    ) -> Result<()> {
        let CommitRequest { shard, mark, enumeration, load: entry, .. } = request;
        let failed = |e| fault::statement("enter load", e).with("table", table).with("shard", shard);
        let signed = |n: u64| {
            i64::try_from(n).map_err(|_| Error::bug("enter load", "a number is beyond 63 bits").with("number", n))
        };
        let (name, pipeline, number) = (table.to_string(), shard.pipeline.to_string(), i64::from(shard.shard));
        let (generation, epoch) = (signed(mark.generation)?, signed(mark.epoch)?);
        let (aside, aside_rows) = load.enumeration.unzip();
        let update = format!(
            "UPDATE {} SET incarnation = $4, generation = $5, epoch = $6, digest = $7, enumeration = $8, enumeration_rows = $9 \
             WHERE table_name = $1 AND pipeline = $2 AND shard = $3",
            self.table("landfall_marks")
        );
        let changed = transaction
            .execute_typed(
                &update,
                &[
                    (&name, Type::TEXT),
                    (&pipeline, Type::TEXT),
                    (&number, Type::INT8),
                    (&mark.incarnation.0, Type::TEXT),
                    (&generation, Type::INT8),
                    (&epoch, Type::INT8),
                    (&mark.digest, Type::TEXT),
                    (&aside, Type::INT8),
                    (&aside_rows, Type::INT8),
                ],
            )
            .await
            .map_err(failed)?;
        if changed != 1 {
            return Err(Error::bug("enter load", "the mark is not one row").with("rows", changed));
        }
        let version = self.schema_version(transaction, &name, load).await?;
        let ledger = serde_json::to_string(&entry.ledger)
            .map_err(|e| Error::bug("enter load", "the ledger does not serialise").with_source(e))?;
        let position = if entry.position.is_empty() { "null" } else { entry.position.as_str() };
        let (number_of, whole) = (enumeration.map(|e| signed(e.number)).transpose()?, enumeration.map(|e| e.whole));
        let columns = [
            "pipeline",
            "shard",
            "epoch",
            "generation",
            "incarnation",
            "digest",
            "disposition",
            "schema_version",
            "rows_staged",
            "rows_inserted",
            "rows_updated",
            "rows_deleted",
            "position",
            "ledger",
            "enumeration",
            "whole",
        ];
        // The mark has decided: what is there is of a life before the table was emptied.
        let insert = format!(
            "INSERT INTO {} (load_id, table_name, {}) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::json, $16::text::jsonb, $17, $18) \
             ON CONFLICT (table_name, load_id) DO UPDATE SET committed_at = now(), {}",
            self.table("landfall_loads"),
            columns.join(", "),
            columns.map(|column| format!("{column} = EXCLUDED.{column}")).join(", ")
        );
        let Counts { staged, inserted, updated, deleted } = load.counts;
        transaction
            .execute_typed(
                &insert,
                &[
                    (&load.id, Type::TEXT),
                    (&name, Type::TEXT),
                    (&pipeline, Type::TEXT),
                    (&number, Type::INT8),
                    (&epoch, Type::INT8),
                    (&generation, Type::INT8),
                    (&mark.incarnation.0, Type::TEXT),
                    (&mark.digest, Type::TEXT),
                    (&load.disposition, Type::TEXT),
                    (&version, Type::INT4),
                    (&staged, Type::INT8),
                    (&inserted, Type::INT8),
                    (&updated, Type::INT8),
                    (&deleted, Type::INT8),
                    (&position, Type::TEXT),
                    (&ledger, Type::TEXT),
                    (&number_of, Type::INT8),
                    (&whole, Type::BOOL),
                ],
            )
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The version of the table's columns; a new one if they have changed since the load before.
    async fn schema_version(&self, transaction: &Transaction<'_>, table: &str, load: &Entry<'_>) -> Result<i32> {
        let failed = |e| fault::statement("enter schema", e).with("table", table);
        let columns = serde_json::to_string(load.columns)
            .map_err(|e| Error::bug("enter schema", "columns do not serialise").with_source(e))?;
        let schemas = self.table("landfall_schema");
        // Shards of one table enter one after the other.
        transaction.batch_execute(&schema_lock(&format!("schema of {table}"))).await.map_err(failed)?;
        let select = format!(
            "SELECT version, columns = $2::text::jsonb FROM {schemas} WHERE table_name = $1 ORDER BY version DESC LIMIT 1"
        );
        let newest = transaction
            .query_typed_opt(&select, &[(&table, Type::TEXT), (&columns, Type::TEXT)])
            .await
            .map_err(failed)?;
        let newest = newest.map(|row| (row.get::<_, i32>(0), row.get::<_, bool>(1)));
        if let Some((version, true)) = newest {
            return Ok(version);
        }
        let version = newest.map_or(0, |(version, _)| version) + 1;
        let insert = format!(
            "INSERT INTO {schemas} (table_name, version, load_id, columns) VALUES ($1, $2, $3, $4::text::jsonb)"
        );
        let entered: [Parameter<'_>; 4] =
            [(&table, Type::TEXT), (&version, Type::INT4), (&load.id, Type::TEXT), (&columns, Type::TEXT)];
        transaction.execute_typed(&insert, &entered).await.map_err(failed)?;
        Ok(version)
    }
}

/// What is entered in the ledger of loads, besides what the request says.
pub(super) struct Entry<'a> {
    pub id: &'a str,
    pub disposition: &'a str,
    pub columns: &'a [TableColumn],
    pub counts: Counts,
    /// The enumeration under way, and the rows that were put aside for it.
    pub enumeration: Option<(i64, i64)>,
}

/// Rows, by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub staged: i64,
    pub inserted: i64,
    pub updated: i64,
    pub deleted: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is there in databases already. It changes under a new version only, with a way from this one.
    #[test]
    fn the_control_tables_are_frozen() {
        const FROZEN: &str = include_str!("../../../tests/fixtures/postgres-control-1.sql");
        let lines: Vec<_> = Control::new("landfall").tables().lines().map(|line| line.trim().to_owned()).collect();
        assert_eq!(lines, FROZEN.lines().collect::<Vec<_>>());
    }
}
