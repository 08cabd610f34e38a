//! Where rows of an enumeration wait until it is whole, or only their keys: a table for each enumeration of a shard. It is made when
//! rows are staged, with the types that the table has then, and dropped after the commit that makes the enumeration whole, or one later.

use super::AdbcTable;
use super::apply::{EPOCH, ROW};
use super::check::{Written, check};
use super::name::TableName;
use super::session::Session;
use super::table::{self, LOAD, Relation, TableColumn};
use super::types::ColumnType;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::Disposition;
use arrow::datatypes::DataType;

const ASIDE: &str = "aside_";

impl AdbcTable {
    /// Where rows of enumeration `number` wait.
    pub(super) fn aside(&self, shard: &ShardKey, number: u64) -> TableName {
        self.control.beside(format!("{}{ASIDE}{number:x}", self.staging_prefix(shard)))
    }

    /// The tables of enumerations that nobody needs any more once `number` is this far. A later one may be under way already.
    pub(super) fn done_with(
        &self,
        session: &mut Session,
        shard: &ShardKey,
        number: u64,
        whole: bool,
    ) -> Result<Vec<TableName>> {
        let prefix = format!("{}{ASIDE}", self.staging_prefix(shard));
        let left = table::tables(session, &self.control.beside(""), &prefix)?;
        let is_done = |name: &String| {
            let of = name.strip_prefix(&prefix).and_then(|digits| u64::from_str_radix(digits, 16).ok());
            of.is_some_and(|of| of < number || (whole && of == number))
        };
        Ok(left.into_iter().filter(is_done).map(|name| self.control.beside(name)).collect())
    }

    /// Makes the table for rows with `columns`, as they are in the table with the columns `held`; gives it those that are new.
    ///
    /// # Errors
    /// `Config` if rows that wait already could not go into the table together with these.
    pub(super) fn put_beside(
        &self,
        session: &mut Session,
        aside: &TableName,
        columns: &[(String, ColumnType)],
        held: &[TableColumn],
    ) -> Result<()> {
        let dialect = session.dialect;
        let gathered: Vec<_> = match &self.disposition {
            Disposition::Upsert(_) => {
                let key = self.disposition.key();
                columns.iter().filter(|(name, _)| key.contains(name)).cloned().collect()
            }
            _ => columns.to_vec(),
        };
        let there = table::columns_in(session, aside)?;
        self.keeps_types(aside, &there, held, session)?;
        let has = |columns: &[TableColumn], name: &str| columns.iter().any(|c| dialect.same_name(&c.name, name));
        let only_some = |column: &&TableColumn| {
            let comes = gathered.iter().any(|(name, _)| dialect.same_name(name, &column.name));
            column.not_null && comes != has(&there, &column.name)
        };
        let keys_only = matches!(self.disposition, Disposition::Upsert(_));
        if let Some(column) = held.iter().find(only_some).filter(|_| !keys_only && !there.is_empty()) {
            if session.count("stage rows", &format!("SELECT count(*) FROM {}", aside.sql()))? > 0 {
                // Rows that do not have it would have a null.
                return Err(Error::config(
                    "stage rows",
                    "some rows of the enumeration lack a column that must not be null",
                )
                .with("table", &self.table)
                .with("column", &column.name)
                .with_hint("declare the column in the schema"));
            }
        }
        let number = |name: &str| (name.to_owned(), ColumnType::Int(DataType::Int64));
        let own = [(LOAD.to_owned(), ColumnType::Text(None)), number(EPOCH), number(ROW)];
        table::evolve(session, aside, &gathered.into_iter().chain(own).collect::<Vec<_>>(), &[]).map(drop)
    }

    /// Checks that what waits can go into the table as it is now: once it is prepared, there is no way back.
    pub(super) fn check_aside(
        &self,
        session: &mut Session,
        aside: &TableName,
        relation: &Relation,
        load: &str,
    ) -> Result<()> {
        let there = table::columns_in(session, aside)?;
        self.keeps_types(aside, &there, &relation.columns, session)?;
        if matches!(self.disposition, Disposition::Upsert(_)) {
            return Ok(());
        }
        let columns: Vec<_> =
            there.iter().map(|c| c.name.as_str()).filter(|name| ![EPOCH, ROW].contains(name)).collect();
        let dialect = session.dialect;
        let is_held = |name: &str| relation.columns.iter().any(|c| dialect.same_name(&c.name, name));
        if let Some(gone) = columns.iter().find(|name| !is_held(name)) {
            return Err(self.changed(aside, gone, "a column of the table is gone, and rows of an enumeration have it"));
        }
        let written = Written { columns: &columns, disposition: &self.disposition, load };
        check(&self.table, relation, dialect, &written)
    }

    /// Values that wait have been fitted to the columns as they were: other types might change them without a word.
    fn keeps_types(
        &self,
        aside: &TableName,
        there: &[TableColumn],
        held: &[TableColumn],
        session: &Session,
    ) -> Result<()> {
        let differs = |column: &&TableColumn| {
            let now = held.iter().find(|held| session.dialect.same_name(&held.name, &column.name));
            column.name != LOAD
                && now.and_then(|now| now.kind.as_ref().zip(column.kind.as_ref())).is_some_and(|(a, b)| a != b)
        };
        match there.iter().find(differs) {
            Some(column) => {
                Err(self.changed(aside, &column.name, "a column has another type since rows of the enumeration came"))
            }
            None => Ok(()),
        }
    }

    fn changed(&self, aside: &TableName, column: &str, message: &'static str) -> Error {
        Error::config("stage rows", message)
            .with("table", &self.table)
            .with("column", column)
            .with("aside", aside)
            .with_hint("change the table back, and change it again when the enumeration is whole")
    }
}
