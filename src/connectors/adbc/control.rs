//! What the sink keeps beside the rows, in the same transaction: the mark of each shard, and the ledger of loads. Written
//! description: docs/formats.md, "Tables through ADBC".

use super::dialect::AdbcDialect;
use super::name::TableName;
use super::session::{Row, Session};
use super::table::{self, TableColumn};
use super::types::ColumnType;
use super::writer::StagedRows;
use crate::error::{Error, Result};
use crate::model::{Incarnation, ShardKey};
use crate::sink::{CommitRequest, Mark};
use arrow::datatypes::DataType;

/// The version of the control tables that this crate writes, and the newest that it reads.
const VERSION: u64 = 1;
const PREPARE: &str = "prepare control tables";

/// The control tables of a schema.
#[derive(Clone, Debug)]
pub(super) struct Control {
    /// One of them: the others are beside it.
    marks: TableName,
}

/// The mark of a shard, and what is kept of an enumeration under way.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub mark: Option<Mark>,
    /// Its number, and the rows that were put aside for it.
    pub enumeration: Option<(u64, u64)>,
}

impl Held {
    /// What the row of a mark says.
    ///
    /// # Errors
    /// `Corrupt` if fields are missing or negative.
    pub(super) fn read(row: Row) -> Result<Self> {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        let (incarnation, generation, epoch, digest) = (next(), next(), next(), next());
        let missing = || damaged("a mark has fields that are missing or negative");
        let number = |text: Option<String>| text.map(|n| n.parse::<u64>()).transpose().map_err(|_| missing());
        let mark = match (incarnation, number(generation)?, number(epoch)?, digest) {
            (Some(incarnation), Some(generation), Some(epoch), Some(digest)) => {
                Some(Mark { incarnation: Incarnation(incarnation), generation, epoch, digest })
            }
            (None, None, None, None) => None,
            _ => return Err(missing()),
        };
        // What waits of an enumeration that is not known is dropped, and its rows would be swept.
        let enumeration = match (number(next())?, number(next())?) {
            (Some(number), Some(rows)) => Some((number, rows)),
            (None, None) => None,
            _ => return Err(missing()),
        };
        Ok(Self { mark, enumeration })
    }
}

impl Control {
    pub(super) fn new(schema: Option<&str>) -> Self {
        Self { marks: TableName { schema: schema.map(str::to_owned), table: "landfall_marks".to_owned() } }
    }

    /// A table in the schema of the control tables.
    pub(super) fn beside(&self, name: impl Into<String>) -> TableName {
        self.marks.beside(name)
    }

    pub(super) fn schema(&self) -> Option<&str> {
        self.marks.schema.as_deref()
    }

    /// Makes the tables if they are not there.
    ///
    /// # Errors
    /// `Config` if they are of a newer version, or the database has no such schema.
    pub(super) fn prepare(&self, session: &mut Session) -> Result<()> {
        let version = self.beside("landfall_version");
        if !table::columns_in(session, &version)?.is_empty() {
            let query = format!("SELECT max(version) FROM {}", version.sql());
            if let Some(found) = session.value(PREPARE, &query)? {
                return check_version(&found).map_err(|e| e.with("table", version));
            }
        }
        table::ensure_schema(session, &version)?;
        for statement in self.tables(session.dialect) {
            session.execute(PREPARE, &statement)?;
        }
        Ok(())
    }

    /// What makes the tables, in this order.
    fn tables(&self, dialect: AdbcDialect) -> [String; 5] {
        let text = ColumnType::Text(None).sql(dialect);
        let number = ColumnType::Int(DataType::Int64).sql(dialect);
        let (flag, time) = match dialect {
            AdbcDialect::Sqlite => ("BOOLEAN", "TEXT"),
            _ => ("BOOLEAN", "TIMESTAMP WITH TIME ZONE"),
        };
        let (marks, loads, schema, version) = (
            self.marks.sql(),
            self.beside("landfall_loads").sql(),
            self.beside("landfall_schema").sql(),
            self.beside("landfall_version").sql(),
        );
        [
            format!(
                "CREATE TABLE IF NOT EXISTS {marks} (table_name {text} NOT NULL, pipeline {text} NOT NULL, shard {number} NOT NULL, \
                 incarnation {text}, generation {number}, epoch {number}, digest {text}, \
                 enumeration {number}, enumeration_rows {number}, PRIMARY KEY (table_name, pipeline, shard))"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {loads} (load_id {text} NOT NULL, table_name {text} NOT NULL, pipeline {text} NOT NULL, \
                 shard {number} NOT NULL, epoch {number} NOT NULL, generation {number} NOT NULL, incarnation {text} NOT NULL, \
                 digest {text} NOT NULL, disposition {text} NOT NULL, schema_version {number} NOT NULL, \
                 rows_staged {number} NOT NULL, rows_inserted {number} NOT NULL, rows_updated {number} NOT NULL, \
                 rows_deleted {number} NOT NULL, position {text} NOT NULL, ledger {text} NOT NULL, \
                 enumeration {number}, whole {flag}, committed_at {time} NOT NULL, PRIMARY KEY (table_name, load_id))"
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {schema} (table_name {text} NOT NULL, version {number} NOT NULL, load_id {text} NOT NULL, \
                 columns {text} NOT NULL, since {time} NOT NULL, PRIMARY KEY (table_name, version))"
            ),
            format!("CREATE TABLE IF NOT EXISTS {version} (version {number} NOT NULL)"),
            // Written last: all are there once it is.
            format!("INSERT INTO {version} (version) VALUES ({VERSION})"),
        ]
    }

    /// The condition that a row is of a shard.
    fn of(session: &Session, table: &TableName, shard: &ShardKey) -> String {
        format!(
            "table_name = {} AND pipeline = {} AND shard = {}",
            session.literal(&table.to_string()),
            session.literal(shard.pipeline.as_str()),
            shard.shard
        )
    }

    /// Makes sure that a shard has a row for its mark, for [`lock`](Self::lock).
    pub(super) fn ensure(&self, session: &mut Session, table: &TableName, shard: &ShardKey) -> Result<()> {
        let (marks, of) = (self.marks.sql(), Self::of(session, table, shard));
        let there = format!("SELECT count(*) FROM {marks} WHERE {of}");
        if session.count("read mark", &there)? == 0 {
            let insert = format!(
                "INSERT INTO {marks} (table_name, pipeline, shard) SELECT {}, {}, {} WHERE NOT EXISTS (SELECT 1 FROM {marks} WHERE {of})",
                session.literal(&table.to_string()),
                session.literal(shard.pipeline.as_str()),
                shard.shard
            );
            if let Err(e) = session.execute("read mark", &insert) {
                // Somebody else has made it meanwhile.
                return Err(if e.to_string().contains("landfall_marks") {
                    e.with_status(crate::error::Status::Transient)
                } else {
                    e
                });
            }
        }
        Ok(())
    }

    /// Keeps all others that write the table out until the end of the transaction, whose first statement this is: they wait here, or
    /// are in conflict. Only then is the mark read, so that it is that of the moment.
    pub(super) fn lock(&self, session: &mut Session, table: &TableName) -> Result<()> {
        let name = session.literal(&table.to_string());
        let touch = format!("UPDATE {} SET digest = digest WHERE table_name = {name}", self.marks.sql());
        session.execute("lock mark", &touch).map(drop).map_err(|e| e.with("table", table))
    }

    /// What is held for a shard.
    pub(super) fn held(&self, session: &mut Session, table: &TableName, shard: &ShardKey) -> Result<Held> {
        let select = format!(
            "SELECT incarnation, generation, epoch, digest, enumeration, enumeration_rows FROM {} WHERE {}",
            self.marks.sql(),
            Self::of(session, table, shard)
        );
        let mut rows = session.query("read mark", &select)?.into_iter();
        let Some(row) = rows.next() else { return Ok(Held::default()) };
        let held = match rows.next() {
            None => Held::read(row),
            Some(_) => Err(damaged("there are two marks of one shard")),
        };
        held.map_err(|e| e.with("table", table).with("shard", shard))
    }

    /// Sets the mark, and enters the load, within the transaction that changes the rows.
    pub(super) fn enter(
        &self,
        session: &mut Session,
        table: &TableName,
        request: &CommitRequest<StagedRows>,
        held: &Held,
        load: &Entry<'_>,
    ) -> Result<()> {
        const OPERATION: &str = "enter load";
        let CommitRequest { shard, mark, enumeration, load: entry, staged, .. } = request;
        let (incarnation, digest) = (session.literal(&mark.incarnation.0), session.literal(&mark.digest));
        let or_null = |n: Option<u64>| n.map_or_else(|| "NULL".to_owned(), |n| n.to_string());
        let (aside, aside_rows) = load.enumeration.unzip();
        // Nobody else could have changed it since it was locked. If a database does not keep that, this notices.
        let unchanged = match &held.mark {
            Some(Mark { generation, epoch, .. }) => format!("generation = {generation} AND epoch = {epoch}"),
            None => "epoch IS NULL".to_owned(),
        };
        let update = format!(
            "UPDATE {} SET incarnation = {incarnation}, generation = {}, epoch = {}, digest = {digest}, enumeration = {}, \
             enumeration_rows = {} WHERE {} AND {unchanged}",
            self.marks.sql(),
            mark.generation,
            mark.epoch,
            or_null(aside),
            or_null(aside_rows),
            Self::of(session, table, shard),
        );
        let changed = session.execute(OPERATION, &update)?;
        // Some drivers do not say how many rows there were.
        let set = match changed {
            Some(rows) => rows == 1,
            None => self.held(session, table, shard)?.mark.as_ref() == Some(mark),
        };
        if !set {
            return Err(Error::unavailable(OPERATION, "the mark was changed meanwhile; nothing was committed")
                .with("table", table)
                .with("shard", shard));
        }
        let version = self.schema_version(session, table, load)?;
        let ledger = serde_json::to_string(&entry.ledger)
            .map_err(|e| Error::bug(OPERATION, "the ledger does not serialise").with_source(e))?;
        let position = if entry.position.is_empty() { "null" } else { entry.position.as_str() };
        let Counts { staged: rows_staged, inserted, updated, deleted } = load.counts;
        let loads = self.beside("landfall_loads").sql();
        let (id, name) = (session.literal(load.id), session.literal(&table.to_string()));
        let values = [
            ("pipeline", session.literal(shard.pipeline.as_str())),
            ("shard", shard.shard.to_string()),
            ("epoch", mark.epoch.to_string()),
            ("generation", mark.generation.to_string()),
            ("incarnation", incarnation),
            ("digest", digest),
            ("disposition", session.literal(staged.disposition.as_str())),
            ("schema_version", version.to_string()),
            ("rows_staged", rows_staged.to_string()),
            ("rows_inserted", inserted.to_string()),
            ("rows_updated", updated.to_string()),
            ("rows_deleted", deleted.to_string()),
            ("position", session.literal(position)),
            ("ledger", session.literal(&ledger)),
            ("enumeration", or_null(enumeration.map(|e| e.number))),
            ("whole", enumeration.map_or("NULL", |e| if e.whole { "TRUE" } else { "FALSE" }).to_owned()),
            ("committed_at", "CURRENT_TIMESTAMP".to_owned()),
        ];
        // The mark has decided: what is there is of a life before.
        let set = values.iter().map(|(column, value)| format!("{column} = {value}")).collect::<Vec<_>>().join(", ");
        let is_it = format!("load_id = {id} AND table_name = {name}");
        session.execute(OPERATION, &format!("UPDATE {loads} SET {set} WHERE {is_it}"))?;
        let insert = format!(
            "INSERT INTO {loads} (load_id, table_name, {}) SELECT {id}, {name}, {} WHERE NOT EXISTS (SELECT 1 FROM {loads} WHERE {is_it})",
            values.each_ref().map(|(column, _)| *column).join(", "),
            values.each_ref().map(|(_, value)| value.as_str()).join(", "),
        );
        session.execute(OPERATION, &insert).map(drop)
    }

    /// The version of the table's columns; a new one if they have changed since the load before.
    fn schema_version(&self, session: &mut Session, table: &TableName, load: &Entry<'_>) -> Result<u64> {
        const OPERATION: &str = "enter schema";
        let columns = serde_json::to_string(load.columns)
            .map_err(|e| Error::bug(OPERATION, "columns do not serialise").with_source(e))?;
        let (schemas, name) = (self.beside("landfall_schema").sql(), session.literal(&table.to_string()));
        let select = format!(
            "SELECT version, columns FROM {schemas} WHERE table_name = {name} AND version = \
             (SELECT max(version) FROM {schemas} WHERE table_name = {name})"
        );
        let newest = session.query(OPERATION, &select)?.into_iter().next();
        let mut newest = newest.into_iter().flatten();
        let version = newest.next().flatten().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
        if newest.next().flatten().as_ref() == Some(&columns) {
            return Ok(version);
        }
        let version = version + 1;
        let insert = format!(
            "INSERT INTO {schemas} (table_name, version, load_id, columns, since) VALUES ({name}, {version}, {}, {}, CURRENT_TIMESTAMP)",
            session.literal(load.id),
            session.literal(&columns),
        );
        session.execute(OPERATION, &insert)?;
        Ok(version)
    }
}

fn damaged(message: &'static str) -> Error {
    Error::corrupt("read mark", message).with_hint("restore the row of `landfall_marks` from a backup")
}

/// Makes sure that the control tables are of a version that this crate knows.
///
/// # Errors
/// `Config` if not.
pub(super) fn check_version(found: &str) -> Result<()> {
    match found.parse::<u64>() {
        Ok(found) if found <= VERSION => Ok(()),
        _ => Err(Error::config(PREPARE, "they are of a version that this crate does not know")
            .with("version", found)
            .with_hint("use a newer version of landfall, or a schema of its own with `control_schema`")),
    }
}

/// What is entered in the ledger of loads, besides what the request says.
pub(super) struct Entry<'a> {
    pub id: &'a str,
    pub columns: &'a [TableColumn],
    pub counts: Counts,
    /// The enumeration under way, and the rows that were put aside for it.
    pub enumeration: Option<(u64, u64)>,
}

/// Rows, by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub staged: u64,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is there in databases already. It changes under a new version only, with a way from this one.
    #[test]
    fn the_control_tables_are_frozen_in_each_dialect() {
        const FROZEN: &str = include_str!("../../../tests/fixtures/adbc-control-1.sql");
        let dialects = [AdbcDialect::DuckDb, AdbcDialect::Postgres, AdbcDialect::Sqlite, AdbcDialect::Standard];
        let mut all = String::new();
        for dialect in dialects {
            all.push_str(&format!("-- {dialect:?}\n"));
            for statement in Control::new(Some("landfall")).tables(dialect) {
                all.push_str(&format!("{statement};\n"));
            }
        }
        assert_eq!(all, FROZEN);
    }
}
