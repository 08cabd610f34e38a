//! What a commit does to the rows of the table, by its disposition, within one transaction and without a change of any table's columns.
//!
//! Rows are staged in a table of their own, numbered in the order of the landing. What loses is taken out of it first, by plain
//! deletes; what is left is the new state of its keys. For enumerations there is another table of the shard (*aside*), which gathers what
//! has come until the enumeration is whole: its rows, or only their keys.

use super::check::{CHANGED, still_fits};
use super::control::Counts;
use super::name::{TableName, list, list_of, quoted};
use super::session::Session;
use super::table::{self, LOAD, TableColumn};
use super::writer::StagedRows;
use crate::columnar::load_prefix;
use crate::error::{Error, ErrorKind, Result};
use crate::model::ShardKey;
use crate::sink::{Disposition, Enumeration, ReplacePartitions, Upsert};

/// The number of a staged row within its epoch.
pub(super) const ROW: &str = "_landfall_row";
/// The epoch that put a row aside.
pub(super) const EPOCH: &str = "_landfall_epoch";

const OPERATION: &str = "commit rows";

/// One epoch that is made visible.
pub(super) struct Apply<'a> {
    pub session: &'a mut Session,
    pub shard: &'a ShardKey,
    pub epoch: u64,
    pub table: &'a TableName,
    /// Its columns; empty if it is not there.
    pub there: &'a [TableColumn],
    /// Where rows of an enumeration wait.
    pub aside: &'a TableName,
    /// Where the rows of this epoch are; `None` if it has none.
    pub staging: Option<&'a TableName>,
    pub staged: &'a StagedRows,
    pub load: &'a str,
}

impl Apply<'_> {
    /// Changes the table; gives what became of the rows, and the enumeration under way with its rows aside.
    pub(super) fn run(
        &mut self,
        enumeration: Option<Enumeration>,
        held: Option<(u64, u64)>,
    ) -> Result<(Counts, Option<(u64, u64)>)> {
        let staged = self.check_staged()?;
        let Some(Enumeration { number, whole, .. }) = enumeration else {
            return Ok((self.rows(staged)?, None));
        };
        let mut aside = match held {
            Some((known, rows)) if known == number => rows,
            // What there may be is of a life before.
            _ => {
                self.empty_aside()?;
                0
            }
        };
        let mut counts = Counts { staged, ..Counts::default() };
        if let Some(staging) = self.staging {
            let visible = matches!(&self.staged.disposition, Disposition::Upsert(_));
            self.put_aside(staging, !visible)?;
            aside += staged;
            if visible {
                counts = self.rows(staged)?;
            }
        }
        if whole {
            return Ok((self.whole(number, aside)?, None));
        }
        Ok((counts, Some((number, aside))))
    }

    /// The rows that were staged must be those that are there.
    fn check_staged(&mut self) -> Result<u64> {
        let Some(staging) = self.staging else { return Ok(0) };
        let columns = table::columns_in(self.session, staging)?;
        if columns.is_empty() {
            return Err(self.changed(staging, "the staged rows are gone; nothing was committed", 0));
        }
        self.check_fits(&columns, self.columns())?;
        let found = self.session.count(OPERATION, &format!("SELECT count(*) FROM {}", staging.sql()))?;
        if found != self.staged.rows {
            return Err(self.changed(staging, "other rows are staged than were; nothing was committed", found));
        }
        Ok(found)
    }

    fn changed(&self, staging: &TableName, message: &'static str, found: u64) -> Error {
        Error::corrupt(OPERATION, message)
            .with("table", staging)
            .with("staged", self.staged.rows)
            .with("found", found)
            .with_hint("restore the database; or load the landing again under a new pipeline name, into an empty table")
    }

    /// Columns of rows that wait must fit those of the table, if it is there.
    fn check_fits<'c>(&self, waiting: &[TableColumn], moved: impl Iterator<Item = &'c str>) -> Result<()> {
        if self.there.is_empty() {
            return Ok(());
        }
        still_fits(self.table, self.there, waiting, moved, self.session.dialect)
    }

    /// Runs a statement; gives the rows that it changed. Drivers that say nothing mean none.
    fn execute(&mut self, statement: &str) -> Result<u64> {
        let rows = self.session.execute(OPERATION, statement).map_err(|e| {
            let is_refused = matches!(e.kind(), ErrorKind::Config | ErrorKind::Data) && e.hint().is_none();
            let e = e.with("into", self.table);
            if is_refused { e.with_hint(CHANGED) } else { e }
        })?;
        Ok(rows.and_then(|rows| u64::try_from(rows).ok()).unwrap_or_default())
    }

    fn empty_aside(&mut self) -> Result<()> {
        if table::columns_in(self.session, self.aside)?.is_empty() {
            return Ok(());
        }
        let delete = format!("DELETE FROM {}", self.aside.sql());
        self.execute(&delete).map(drop)
    }

    /// Applies the staged rows to the table.
    fn rows(&mut self, staged: u64) -> Result<Counts> {
        let counts = Counts { staged, ..Counts::default() };
        let Some(staging) = self.staging else { return Ok(counts) };
        match &self.staged.disposition {
            Disposition::Append => {
                let inserted = self.insert(staging, "")?;
                // An ingest that was tried again may come through after the count. Of fewer, the table has its own reasons.
                if inserted > staged {
                    return Err(self.changed(
                        staging,
                        "more rows are staged than were; nothing was committed",
                        inserted,
                    ));
                }
                Ok(Counts { inserted, ..counts })
            }
            Disposition::InsertOnly(_) => {
                self.collapse(staging, &format!("{} ASC", quoted(ROW)))?;
                Ok(Counts { inserted: self.insert_absent(staging)?, ..counts })
            }
            Disposition::Upsert(upsert) => self.upsert(upsert, staging, counts),
            _ => Err(Error::bug(OPERATION, "rows of no enumeration").with("into", self.table)),
        }
    }

    fn upsert(&mut self, upsert: &Upsert, staging: &TableName, counts: Counts) -> Result<Counts> {
        let (table, stage) = (self.table.sql(), staging.sql());
        let (in_table, in_stage) = (self.table.alias(), staging.alias());
        let same = self.same_key(&in_table, &in_stage);
        self.collapse(staging, &self.newest_first(&format!("{} DESC", quoted(ROW))))?;
        if let Some(column) = upsert.newest.as_deref().map(quoted) {
            let older = format!(
                "DELETE FROM {stage} WHERE EXISTS (SELECT 1 FROM {table} WHERE {same} AND {in_table}.{column} IS NOT NULL \
                 AND ({in_stage}.{column} IS NULL OR {in_stage}.{column} < {in_table}.{column}))"
            );
            self.execute(&older)?;
        }
        let mut deleted = 0;
        if let Some(column) = &upsert.deleted {
            let gone = self.says_gone(&in_stage, column);
            let delete = format!("DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM {stage} WHERE {same} AND {gone})");
            deleted = self.execute(&delete)?;
            self.execute(&format!("DELETE FROM {stage} WHERE {gone}"))?;
        }
        let set = self.columns().filter(|c| !self.staged.disposition.key().iter().any(|k| k == c));
        let set = set.map(|c| format!("{c} = {in_stage}.{c}", c = quoted(c)));
        let load = format!("{} = {}", quoted(LOAD), self.session.literal(self.load));
        let set = set.chain([load]).collect::<Vec<_>>().join(", ");
        let updated = self.execute(&format!("UPDATE {table} SET {set} FROM {stage} WHERE {same}"))?;
        let inserted = self.insert_absent(staging)?;
        Ok(Counts { inserted, updated, deleted, ..counts })
    }

    /// Keeps one row of each key of `from`: the first in `order`.
    fn collapse(&mut self, from: &TableName, order: &str) -> Result<()> {
        let (row, key) = (quoted(ROW), self.key());
        let delete = format!(
            "DELETE FROM {from} WHERE {row} IN (SELECT {row} FROM (SELECT {row}, row_number() OVER (PARTITION BY {key} ORDER BY {order}) \
             AS _landfall_rank FROM {from}) r WHERE _landfall_rank > 1)",
            from = from.sql(),
        );
        self.execute(&delete).map(drop)
    }

    fn insert_absent(&mut self, staging: &TableName) -> Result<u64> {
        let same = self.same_key(&self.table.alias(), &staging.alias());
        let absent = format!(" WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {same})", self.table.sql());
        self.insert(staging, &absent)
    }

    fn insert(&mut self, staging: &TableName, condition: &str) -> Result<u64> {
        let insert = format!(
            "INSERT INTO {} ({}, {}) SELECT {}, {} FROM {}{condition} ORDER BY {}.{}",
            self.table.sql(),
            list(self.columns()),
            quoted(LOAD),
            list_of(&staging.alias(), self.columns()),
            self.session.literal(self.load),
            staging.sql(),
            staging.alias(),
            quoted(ROW)
        );
        self.execute(&insert)
    }

    /// Gathers rows of an enumeration, or only their keys.
    fn put_aside(&mut self, staging: &TableName, rows: bool) -> Result<()> {
        let columns: Vec<&str> = if rows { self.columns().collect() } else { self.key_columns().collect() };
        let names = list(columns.iter().copied());
        let insert = format!(
            "INSERT INTO {} ({names}, {}, {}, {row}) SELECT {names}, {}, {}, {row} FROM {}",
            self.aside.sql(),
            quoted(LOAD),
            quoted(EPOCH),
            self.session.literal(self.load),
            self.epoch,
            staging.sql(),
            row = quoted(ROW),
        );
        self.execute(&insert).map(drop)
    }

    /// Takes away what a whole enumeration has not given.
    fn whole(&mut self, number: u64, expected: u64) -> Result<Counts> {
        if table::columns_in(self.session, self.table)?.is_empty() {
            // No row ever came, or somebody has dropped what came.
            return if expected == 0 { Ok(Counts::default()) } else { Err(gone(self.table, expected)) };
        }
        let aside = self.aside.sql();
        let there = !table::columns_in(self.session, self.aside)?.is_empty();
        let found = if there { self.session.count(OPERATION, &format!("SELECT count(*) FROM {aside}"))? } else { 0 };
        if found != expected {
            return Err(Error::corrupt("replace rows", "other rows wait than were put aside; nothing was changed")
                .with("table", self.aside)
                .with("enumeration", number)
                .with("put_aside", expected)
                .with("found", found));
        }
        let (table, in_table, in_aside) = (self.table.sql(), self.table.alias(), self.aside.alias());
        let delete = match &self.staged.disposition {
            Disposition::Upsert(_) => {
                let own = own(self.session, self.shard, &in_table);
                let came = format!("SELECT 1 FROM {aside} WHERE {}", self.same_key(&in_table, &in_aside));
                let unseen = if there { format!(" AND NOT EXISTS ({came})") } else { String::new() };
                return Ok(Counts {
                    deleted: self.execute(&format!("DELETE FROM {table} WHERE {own}{unseen}"))?,
                    ..Counts::default()
                });
            }
            Disposition::Replace(_) => format!("DELETE FROM {table}"),
            Disposition::ReplacePartitions(_) if expected == 0 => return Ok(Counts::default()),
            Disposition::ReplacePartitions(ReplacePartitions { by, .. }) => {
                let same = by.iter().map(|c| {
                    let c = quoted(c);
                    format!("({in_table}.{c} = {in_aside}.{c} OR ({in_table}.{c} IS NULL AND {in_aside}.{c} IS NULL))")
                });
                let same = same.collect::<Vec<_>>().join(" AND ");
                format!("DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM {aside} WHERE {same})")
            }
            _ => return Err(Error::bug("replace rows", "this disposition takes nothing away")),
        };
        let deleted = self.execute(&delete)?;
        Ok(Counts { deleted, inserted: self.move_in(expected)?, ..Counts::default() })
    }

    /// Moves the rows that were put aside into the table, one of each key if there is one.
    fn move_in(&mut self, expected: u64) -> Result<u64> {
        if expected == 0 {
            return Ok(0);
        }
        let aside = self.aside.sql();
        let (epoch, row) = (quoted(EPOCH), quoted(ROW));
        if !self.staged.disposition.key().is_empty() {
            let order = self.newest_first(&format!("{epoch} DESC, {row} DESC"));
            let in_aside = self.aside.alias();
            let delete = format!(
                "DELETE FROM {aside} WHERE EXISTS (SELECT 1 FROM (SELECT {epoch}, {row}, row_number() OVER (PARTITION BY {} ORDER BY {order}) \
                 AS _landfall_rank FROM {aside}) r WHERE r._landfall_rank > 1 AND r.{epoch} = {in_aside}.{epoch} AND r.{row} = {in_aside}.{row})",
                self.key()
            );
            self.execute(&delete)?;
        }
        let own = [EPOCH, ROW];
        let columns = table::columns_in(self.session, self.aside)?;
        let moved = columns.iter().map(|c| c.name.as_str()).filter(|name| !own.contains(name));
        self.check_fits(&columns, moved.clone().filter(|name| *name != LOAD))?;
        let columns = list(moved);
        let insert = format!(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {aside} ORDER BY {epoch}, {row}",
            self.table.sql()
        );
        self.execute(&insert)
    }

    fn newest_first(&self, then: &str) -> String {
        match self.staged.disposition.newest().map(quoted) {
            // Null is before everything, and where it is put by itself differs from database to database.
            Some(column) => format!("CASE WHEN {column} IS NULL THEN 1 ELSE 0 END, {column} DESC, {then}"),
            None => then.to_owned(),
        }
    }

    fn says_gone(&self, of: &str, column: &str) -> String {
        let value = format!("{of}.{}", quoted(column));
        let is_bool = self.staged.bools.iter().any(|b| b == column);
        if is_bool { format!("CASE WHEN {value} THEN 1 ELSE 0 END = 1") } else { format!("{value} IS NOT NULL") }
    }

    fn same_key(&self, a: &str, b: &str) -> String {
        same_columns(self.staged.disposition.key(), a, b)
    }

    fn key(&self) -> String {
        list(self.key_columns())
    }

    fn key_columns(&self) -> impl Iterator<Item = &str> {
        self.staged.disposition.key().iter().map(String::as_str)
    }

    fn columns(&self) -> impl Iterator<Item = &str> {
        self.staged.columns.iter().map(String::as_str)
    }
}

fn same_columns(columns: &[String], a: &str, b: &str) -> String {
    let same = columns.iter().map(|c| format!("{a}.{c} = {b}.{c}", c = quoted(c)));
    same.collect::<Vec<_>>().join(" AND ")
}

/// The error of a table that is not there, though rows have come for it.
fn gone(table: &TableName, waiting: u64) -> Error {
    Error::corrupt("replace rows", "the table is gone, and rows of an enumeration are there; nothing was changed")
        .with("table", table)
        .with("waiting", waiting)
        .with_hint("restore the table; where the enumeration replaces it, an empty one with its columns serves as well")
}

/// Rows that a whole enumeration can take away, and how many of them would be left, or be there in their place.
pub(super) fn left(
    session: &mut Session,
    table: &TableName,
    aside: &TableName,
    shard: &ShardKey,
    disposition: &Disposition,
    begun: bool,
) -> Result<(u64, u64)> {
    const OPERATION: &str = "count rows";
    if table::columns_in(session, table)?.is_empty() {
        if !begun {
            return Ok((0, 0));
        }
        let waiting = session.count(OPERATION, &format!("SELECT count(*) FROM {}", aside.sql()))?;
        return Err(gone(table, waiting));
    }
    let key = disposition.key();
    match disposition {
        Disposition::Replace(_) => {
            let before = session.count(OPERATION, &format!("SELECT count(*) FROM {}", table.sql()))?;
            let rows = match key {
                [] => aside.sql(),
                key => format!("(SELECT DISTINCT {} FROM {}) d", list(key.iter().map(String::as_str)), aside.sql()),
            };
            let after = if begun { session.count(OPERATION, &format!("SELECT count(*) FROM {rows}"))? } else { 0 };
            Ok((before, after))
        }
        Disposition::Upsert(_) => {
            let own = format!("SELECT count(*) FROM {} WHERE {}", table.sql(), own(session, shard, &table.alias()));
            let before = session.count(OPERATION, &own)?;
            if !begun {
                return Ok((before, 0));
            }
            let same = same_columns(key, &table.alias(), &aside.alias());
            let came = format!("{own} AND EXISTS (SELECT 1 FROM {} WHERE {same})", aside.sql());
            Ok((before, session.count(OPERATION, &came)?))
        }
        _ => Ok((0, 0)),
    }
}

/// The condition that a row is of this shard of the pipeline.
fn own(session: &Session, shard: &ShardKey, of: &str) -> String {
    // The names of pipelines may begin alike; a number of twenty digits follows.
    let prefix = load_prefix(shard);
    let (load, length, prefix) = (quoted(LOAD), prefix.chars().count(), session.literal(&prefix));
    format!("substr({of}.{load}, 1, {length}) = {prefix} AND length({of}.{load}) = {}", length + 20)
}
