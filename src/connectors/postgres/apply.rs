//! What a commit does to the rows of the table, by its disposition, within one transaction.
//!
//! Rows are staged in a table of their own, numbered in the order of the landing. For enumerations there is another table of the
//! shard (*aside*), which gathers what has come until the enumeration is whole: its rows, or only their keys.

use super::control::Counts;
use super::fault;
use super::fit;
use super::name::{TableName, list, literal, quoted};
use super::table::{self, HASH, LOAD, Relation};
use super::types::TableColumn;
use super::writer::StagedRows;
use crate::columnar::load_prefix;
use crate::error::{Error, Result};
use crate::model::ShardKey;
use crate::sink::{Disposition, Enumeration, ReplacePartitions, Scd2, Upsert};
use deadpool_postgres::{Client, Transaction};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// The number of a staged row within its epoch.
pub(super) const ROW: &str = "_landfall_row";
/// The epoch that put a row aside.
pub(super) const EPOCH: &str = "_landfall_epoch";

/// One epoch that is made visible.
pub(super) struct Apply<'a> {
    pub transaction: &'a Transaction<'a>,
    pub shard: &'a ShardKey,
    pub epoch: u64,
    pub table: &'a TableName,
    /// What the catalogue says of it; `None` if it is not there.
    pub relation: Option<&'a Relation>,
    /// Where rows of an enumeration wait.
    pub aside: &'a TableName,
    /// Where the rows of this epoch are; `None` if it has none.
    pub staging: Option<&'a TableName>,
    pub staged: &'a StagedRows,
    pub load: &'a str,
}

impl Apply<'_> {
    /// Changes the table; gives what became of the rows, and the enumeration under way with its rows aside.
    pub(super) async fn run(
        &self,
        enumeration: Option<Enumeration>,
        held: Option<(i64, i64)>,
    ) -> Result<(Counts, Option<(i64, i64)>)> {
        let staged = self.check_staged().await?;
        if let Some(staging) = self.staging {
            self.check_fits(&table::columns_in(self.transaction, staging).await?, self.columns())?;
        }
        let Some(Enumeration { number, whole, .. }) = enumeration else {
            return Ok((self.rows(staged).await?, None));
        };
        let number = i64::try_from(number).map_err(|_| Error::bug("commit rows", "a number is beyond 63 bits"))?;
        let mut aside = match held {
            Some((known, rows)) if known == number => rows,
            // What an enumeration of this number has left, of a life before.
            _ => {
                self.execute(&format!("DROP TABLE IF EXISTS {}", self.aside.sql())).await?;
                0
            }
        };
        let mut counts = Counts { staged, ..Counts::default() };
        if let Some(staging) = self.staging {
            let visible = matches!(&self.staged.disposition, Disposition::Upsert(_) | Disposition::Scd2(_));
            aside += self.put_aside(staging, !visible).await?;
            if visible {
                counts = self.rows(staged).await?;
            }
        }
        if whole {
            return Ok((self.whole(number, aside).await?, None));
        }
        Ok((counts, Some((number, aside))))
    }

    /// The rows that were staged must be those that are there.
    async fn check_staged(&self) -> Result<i64> {
        let Some(staging) = self.staging else { return Ok(0) };
        let count = format!("SELECT pg_catalog.count(*) FROM {}", staging.sql());
        let gone = |message: &'static str| {
            Error::corrupt("commit rows", message).with("table", staging).with("staged", self.staged.rows).with_hint(
                "restore the database; or load the landing again under a new pipeline name, into an empty table",
            )
        };
        let found: i64 = match self.transaction.query_typed_one(&count, &[]).await {
            Ok(row) => row.get(0),
            Err(e) if e.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                return Err(gone("the staged rows are gone; nothing was committed"));
            }
            Err(e) => return Err(fault::statement("commit rows", e)),
        };
        if u64::try_from(found).ok() != Some(self.staged.rows) {
            return Err(gone("other rows are staged than were; nothing was committed").with("found", found));
        }
        Ok(found)
    }

    /// Columns of rows that wait must fit those of the table, if it is there.
    fn check_fits<'c>(&self, waiting: &'c [TableColumn], moved: impl Iterator<Item = &'c str>) -> Result<()> {
        let there = self.relation.map(|relation| relation.columns.as_slice());
        there.map_or(Ok(()), |there| fit::still_fits(self.table, there, waiting, moved))
    }

    pub(super) async fn execute(&self, statement: &str) -> Result<i64> {
        let rows = self.transaction.execute_typed(statement, &[]).await;
        let rows = rows.map_err(|e| fault::moving("commit rows", e).with("into", self.table))?;
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    /// Applies the staged rows to the table.
    async fn rows(&self, staged: i64) -> Result<Counts> {
        let counts = Counts { staged, ..Counts::default() };
        let Some(staging) = self.staging else { return Ok(counts) };
        let (table, columns) = (self.table.sql(), list(self.columns()));
        let load = literal(self.load);
        match &self.staged.disposition {
            Disposition::Append => {
                let insert = format!(
                    "INSERT INTO {table} ({columns}, {}) SELECT {columns}, {load} FROM {} ORDER BY {}",
                    quoted(LOAD),
                    staging.sql(),
                    quoted(ROW)
                );
                Ok(Counts { inserted: self.execute(&insert).await?, ..counts })
            }
            Disposition::InsertOnly(_) => {
                let first = self.winners(&staging.sql(), &format!("{} ASC", quoted(ROW)));
                let insert = format!(
                    "INSERT INTO {table} ({columns}, {}) SELECT {columns}, {load} FROM {first} w ORDER BY {key} ON CONFLICT ({key}) DO NOTHING",
                    quoted(LOAD),
                    key = self.key()
                );
                Ok(Counts { inserted: self.execute(&insert).await?, ..counts })
            }
            Disposition::Upsert(upsert) => self.upsert(upsert, staging, counts).await,
            Disposition::Scd2(scd2) => self.versions(scd2, staging, counts).await,
            Disposition::Children(children) => self.children(children, staging, counts).await,
            Disposition::Replace(_) | Disposition::ReplacePartitions(_) => {
                Err(Error::bug("commit rows", "rows of no enumeration").with("into", self.table))
            }
        }
    }

    /// Rows of one key come in the order of the key, so that shards that write one table do not wait for each other in a circle.
    async fn upsert(&self, upsert: &Upsert, staging: &TableName, counts: Counts) -> Result<Counts> {
        let (table, columns, key) = (self.table.sql(), list(self.columns()), self.key());
        let newest = self.winners(&staging.sql(), &self.newest_first(&format!("{} DESC", quoted(ROW))));
        // The row in the table is not newer.
        let not_newer = |of: &str| match &upsert.newest {
            None => String::new(),
            Some(column) => format!(" AND (t.{c} IS NULL OR t.{c} <= {of}.{c})", c = quoted(column)),
        };
        let (mut deleted, mut marked) = (0, 0);
        let mut kept = String::new();
        if let Some(column) = &upsert.deleted {
            let gone = self.says_gone("w", column);
            let those = format!("{newest} w WHERE {} AND {gone}{}", self.same_key("t", "w"), not_newer("w"));
            if upsert.keep_deleted {
                let said = [column].into_iter().chain(&upsert.newest).map(|c| format!("{c} = w.{c}", c = quoted(c)));
                let said = said.collect::<Vec<_>>().join(", ");
                let (load, id) = (quoted(LOAD), literal(self.load));
                marked = self.execute(&format!("UPDATE {table} t SET {said}, {load} = {id} FROM {those}")).await?;
                let there = format!("EXISTS (SELECT 1 FROM {table} h WHERE {})", self.same_key("h", "w"));
                kept = format!(" WHERE NOT ({gone} AND {there})");
            } else {
                deleted = self.execute(&format!("DELETE FROM {table} t USING {those}")).await?;
                kept = format!(" WHERE NOT {gone}");
            }
        }
        let set = self.columns().filter(|c| !self.staged.disposition.key().iter().any(|k| k == c));
        let set =
            set.chain([LOAD]).map(|c| format!("{c} = EXCLUDED.{c}", c = quoted(c))).collect::<Vec<_>>().join(", ");
        let condition = match not_newer("EXCLUDED") {
            none if none.is_empty() => String::new(),
            some => format!(" WHERE{}", some.trim_start_matches(" AND")),
        };
        // `xmax` tells a row that was updated from one that was inserted. Of a partition it cannot be had: there the statement asks what
        // was there before it.
        let inserted = match self.relation.is_some_and(|relation| relation.partitioned) {
            false => "xmax = 0".to_owned(),
            true => format!("NOT EXISTS (SELECT 1 FROM {table} o WHERE {})", self.same_key("o", "t")),
        };
        let statement = format!(
            "WITH changed AS (INSERT INTO {table} AS t ({columns}, {load}) SELECT {columns}, {id} FROM {newest} w{kept} ORDER BY {key} \
             ON CONFLICT ({key}) DO UPDATE SET {set}{condition} RETURNING {inserted} AS inserted) \
             SELECT pg_catalog.count(*) FILTER (WHERE inserted), pg_catalog.count(*) FILTER (WHERE NOT inserted) FROM changed",
            load = quoted(LOAD),
            id = literal(self.load),
        );
        let row = self.transaction.query_typed_one(&statement, &[]).await;
        let row = row.map_err(|e| fault::moving("commit rows", e).with("into", self.table))?;
        let updated = row.get::<_, i64>(1) + marked;
        Ok(Counts { inserted: row.get(0), updated, deleted, ..counts })
    }

    /// New versions: those that differ from the one before them, which ends where they begin.
    async fn versions(&self, scd2: &Scd2, staging: &TableName, counts: Counts) -> Result<Counts> {
        let (table, key) = (self.table.sql(), self.key());
        let (from, to, hash) = (quoted(&scd2.valid_from), quoted(&scd2.valid_to), quoted(HASH));
        let at = match &scd2.since {
            Some(column) => format!("s.{}::timestamptz", quoted(column)),
            None => self.staged_at(),
        };
        let held_since = match &scd2.since {
            Some(column) => format!("coalesce(t.{}::timestamptz, t.{from})", quoted(column)),
            None => format!("t.{from}"),
        };
        let (held_from, too_old) = match (&scd2.since, scd2.sweep) {
            // Without a time of their own, versions follow each other even if a clock goes back.
            (None, _) => (
                "CASE WHEN h._lf_floor >= i._lf_at THEN h._lf_floor + interval '1 microsecond' ELSE i._lf_at END",
                "false",
            ),
            // A sweep ends versions at a time of its own: a key that comes again has been away until then, and what follows goes by the
            // time that it came with.
            (Some(_), Some(_)) => ("greatest(i._lf_at, h._lf_floor)", "coalesce(i._lf_at < h._lf_since, false)"),
            (Some(_), None) => ("i._lf_at", "coalesce(i._lf_at < h._lf_floor, false)"),
        };
        let gone = scd2.deleted.as_ref().map_or_else(|| "false".to_owned(), |column| self.says_gone("s", column));
        let columns = list(self.columns());
        let versions = scratch(staging)?;
        let changes = format!(
            "CREATE UNLOGGED TABLE {versions} AS \
             WITH incoming AS (SELECT * FROM (SELECT s.*, {at} AS _lf_at, {gone} AS _lf_gone, \
                 pg_catalog.row_number() OVER (PARTITION BY {key}, {at} ORDER BY s.{row} DESC) AS _lf_rank FROM {staging} s) r WHERE _lf_rank = 1), \
             held AS (SELECT {key}, pg_catalog.max(coalesce(t.{to}, t.{from})) AS _lf_floor, \
                 pg_catalog.max({held_since}) FILTER (WHERE t.{to} IS NULL) AS _lf_since, \
                 pg_catalog.max(t.{hash}) FILTER (WHERE t.{to} IS NULL) AS _lf_hash FROM {table} t \
                 WHERE EXISTS (SELECT 1 FROM incoming i WHERE {same_ti}) GROUP BY {key}), \
             dated AS (SELECT i.*, h._lf_hash, {held_from} AS _lf_from FROM incoming i LEFT JOIN held h ON {same_ih} WHERE NOT {too_old}), \
             later AS (SELECT * FROM (SELECT *, \
                 pg_catalog.row_number() OVER (PARTITION BY {key}, _lf_from ORDER BY _lf_at DESC) AS _lf_last FROM dated) d WHERE _lf_last = 1), \
             told AS (SELECT *, coalesce(pg_catalog.lag(CASE WHEN _lf_gone THEN '' ELSE {hash} END) OVER w, _lf_hash, '') AS _lf_before FROM later \
                 WINDOW w AS (PARTITION BY {key} ORDER BY _lf_from)), \
             changed AS (SELECT * FROM told WHERE (CASE WHEN _lf_gone THEN '' ELSE {hash} END) <> _lf_before) \
             SELECT *, pg_catalog.lead(_lf_from) OVER (PARTITION BY {key} ORDER BY _lf_from) AS _lf_until, \
                 pg_catalog.row_number() OVER (PARTITION BY {key} ORDER BY _lf_from) AS _lf_number FROM changed",
            row = quoted(ROW),
            staging = staging.sql(),
            same_ti = self.same_key("t", "i"),
            same_ih = self.same_key("i", "h"),
        );
        self.execute(&changes).await?;
        let first = format!("{versions} v WHERE v._lf_number = 1 AND t.{to} IS NULL AND {}", self.same_key("t", "v"));
        // A version that held for no time at all was a mistake of the same moment.
        let deleted = self.execute(&format!("DELETE FROM {table} t USING {first} AND t.{from} >= v._lf_from")).await?;
        let updated = self.execute(&format!("UPDATE {table} t SET {to} = v._lf_from FROM {first}")).await?;
        let insert = format!(
            "INSERT INTO {table} ({columns}, {hash}, {load}, {from}, {to}) \
             SELECT {columns}, {hash}, {id}, _lf_from, _lf_until FROM {versions} WHERE NOT _lf_gone ORDER BY {key}, _lf_from",
            load = quoted(LOAD),
            id = literal(self.load),
        );
        let inserted = self.execute(&insert).await?;
        self.execute(&format!("DROP TABLE {versions}")).await?;
        Ok(Counts { inserted, updated, deleted, ..counts })
    }

    /// Gathers rows of an enumeration, or only their keys.
    async fn put_aside(&self, staging: &TableName, rows: bool) -> Result<i64> {
        let aside = self.aside.sql();
        let columns: Vec<&str> = if rows { self.columns().collect() } else { self.key_columns().collect() };
        let names = list(columns.iter().copied());
        // `LIKE` takes the types of the table, which may be wider than those of the rows.
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {aside} AS SELECT {names}, 0::bigint AS {epoch}, 0::bigint AS {row} FROM {table} WHERE false",
            epoch = quoted(EPOCH),
            row = quoted(ROW),
            table = self.table.sql(),
        );
        self.execute(&create).await?;
        // One that is there already is locked only if it lacks a column.
        let there = table::columns_in(self.transaction, self.aside).await?;
        for TableColumn { name, kind, .. } in table::columns_in(self.transaction, self.table).await? {
            if columns.contains(&name.as_str()) && !there.iter().any(|column| column.name == name) {
                self.execute(&format!("ALTER TABLE {aside} ADD COLUMN {} {kind}", quoted(&name))).await?;
            }
        }
        let insert = format!(
            "INSERT INTO {aside} ({names}, {epoch}, {row}) SELECT {names}, {number}, {row} FROM {staging}",
            epoch = quoted(EPOCH),
            row = quoted(ROW),
            number = self.epoch,
            staging = staging.sql(),
        );
        self.execute(&insert).await
    }

    /// Takes away what a whole enumeration has not given.
    async fn whole(&self, number: i64, expected: i64) -> Result<Counts> {
        let there = self.transaction.query_typed_one(IS_THERE, &[(&self.table.sql(), Type::TEXT)]).await;
        if !there.map_err(|e| fault::statement("commit rows", e))?.get::<_, bool>(0) {
            // No row ever came, or somebody has dropped what came.
            return if expected == 0 { Ok(Counts::default()) } else { Err(gone(self.table, expected)) };
        }
        let aside = self.aside.sql();
        if expected == 0 {
            let create = format!(
                "CREATE TABLE IF NOT EXISTS {aside} AS SELECT *, 0::bigint AS {}, 0::bigint AS {} FROM {} WHERE false",
                quoted(EPOCH),
                quoted(ROW),
                self.table.sql()
            );
            self.execute(&create).await?;
        }
        let count = self.transaction.query_typed_one(&format!("SELECT pg_catalog.count(*) FROM {aside}"), &[]).await;
        let found: i64 = count.map_err(|e| fault::statement("commit rows", e))?.get(0);
        if found != expected {
            return Err(Error::corrupt("replace rows", "other rows wait than were put aside; nothing was changed")
                .with("table", self.aside)
                .with("enumeration", number)
                .with("put_aside", expected)
                .with("found", found));
        }
        let table = self.table.sql();
        let unseen = |alias: &str| {
            format!(
                "{} AND NOT EXISTS (SELECT 1 FROM {aside} a WHERE {})",
                own(self.shard, alias),
                self.same_key(alias, "a")
            )
        };
        match &self.staged.disposition {
            Disposition::Upsert(_) => {
                let delete = format!("DELETE FROM {table} t WHERE {}", unseen("t"));
                Ok(Counts { deleted: self.execute(&delete).await?, ..Counts::default() })
            }
            Disposition::Scd2(Scd2 { valid_from, valid_to, since, .. }) => {
                let (from, to) = (quoted(valid_from), quoted(valid_to));
                let (at, unseen) = (self.staged_at(), unseen("t"));
                // What has not begun yet goes: it has held for no time at all. Without times of its own it has, and a clock has gone back.
                let deleted = match since {
                    Some(_) => {
                        let early =
                            format!("DELETE FROM {table} t WHERE t.{to} IS NULL AND t.{from} >= {at} AND {unseen}");
                        self.execute(&early).await?
                    }
                    None => 0,
                };
                let close = format!(
                    "UPDATE {table} t SET {to} = greatest(t.{from} + interval '1 microsecond', {at}) WHERE t.{to} IS NULL AND {unseen}"
                );
                Ok(Counts { deleted, updated: self.execute(&close).await?, ..Counts::default() })
            }
            Disposition::Replace(_) => {
                let deleted = self.execute(&format!("DELETE FROM {table}")).await?;
                Ok(Counts { deleted, inserted: self.move_in(expected).await?, ..Counts::default() })
            }
            Disposition::ReplacePartitions(ReplacePartitions { by, .. }) => {
                let same = by.iter().map(|c| format!("t.{c} IS NOT DISTINCT FROM p.{c}", c = quoted(c)));
                let delete = format!(
                    "DELETE FROM {table} t USING (SELECT DISTINCT {} FROM {aside}) p WHERE {}",
                    list(by.iter().map(String::as_str)),
                    same.collect::<Vec<_>>().join(" AND ")
                );
                let deleted = if expected == 0 { 0 } else { self.execute(&delete).await? };
                Ok(Counts { deleted, inserted: self.move_in(expected).await?, ..Counts::default() })
            }
            Disposition::Append | Disposition::InsertOnly(_) | Disposition::Children(_) => {
                Err(Error::bug("replace rows", "this disposition takes nothing away"))
            }
        }
    }

    /// Moves the rows that were put aside into the table, one of each key if there is one.
    async fn move_in(&self, expected: i64) -> Result<i64> {
        if expected == 0 {
            return Ok(0);
        }
        let there = table::columns_in(self.transaction, self.aside).await?;
        let own = [EPOCH, ROW, LOAD];
        let columns = there.iter().map(|column| column.name.as_str()).filter(|name| !own.contains(name));
        self.check_fits(&there, columns.clone())?;
        let columns = list(columns);
        let order = format!("{} DESC, {} DESC", quoted(EPOCH), quoted(ROW));
        let from = if self.staged.disposition.key().is_empty() {
            format!("{} w", self.aside.sql())
        } else {
            format!("{} w", self.winners(&self.aside.sql(), &self.newest_first(&order)))
        };
        let load =
            format!("{} || pg_catalog.lpad({}::text, 20, '0')", literal(&load_prefix(self.shard)), quoted(EPOCH));
        let insert = format!(
            "INSERT INTO {} ({columns}, {}) SELECT {columns}, {load} FROM {from} ORDER BY {}, {}",
            self.table.sql(),
            quoted(LOAD),
            quoted(EPOCH),
            quoted(ROW)
        );
        self.execute(&insert).await
    }

    /// One row of each key of `from`: the first in `order`.
    pub(super) fn winners(&self, from: &str, order: &str) -> String {
        format!(
            "(SELECT * FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY {} ORDER BY {order}) AS _landfall_rank FROM {from}) r \
             WHERE _landfall_rank = 1)",
            self.key()
        )
    }

    pub(super) fn newest_first(&self, then: &str) -> String {
        match self.staged.disposition.newest() {
            Some(column) => format!("{} DESC NULLS LAST, {then}", quoted(column)),
            None => then.to_owned(),
        }
    }

    pub(super) fn says_gone(&self, alias: &str, column: &str) -> String {
        let value = format!("{alias}.{}", quoted(column));
        // By its text: the column may be of any type.
        let is_bool = self.staged.bools.iter().any(|b| b == column);
        if is_bool { format!("coalesce({value}, false)") } else { format!("({value} IS NOT NULL)") }
    }

    pub(super) fn same_key(&self, a: &str, b: &str) -> String {
        let same = self.key_columns().map(|c| format!("{a}.{c} = {b}.{c}", c = quoted(c)));
        same.collect::<Vec<_>>().join(" AND ")
    }

    pub(super) fn key(&self) -> String {
        list(self.key_columns())
    }

    fn key_columns(&self) -> impl Iterator<Item = &str> {
        self.staged.disposition.key().iter().map(String::as_str)
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.staged.columns.iter().map(String::as_str)
    }

    fn staged_at(&self) -> String {
        format!("pg_catalog.to_timestamp({}::double precision / 1000000)", self.staged.staged_at.as_micros())
    }
}

/// A table of this transaction, which nobody else ever sees. A temporary one would need a right of its own.
pub(super) fn scratch(staging: &TableName) -> Result<String> {
    Ok(TableName::new(&staging.schema, &format!("{}_s", staging.table))?.sql())
}

/// Whether there is a table of this name.
const IS_THERE: &str = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";

/// The error of a table that is not there, though rows have come for it.
fn gone(table: &TableName, waiting: i64) -> Error {
    Error::corrupt("replace rows", "the table is gone, and rows of an enumeration are there; nothing was changed")
        .with("table", table)
        .with("waiting", waiting)
        .with_hint("restore the table; where the enumeration replaces it, an empty one with its columns serves as well")
}

/// Rows that a whole enumeration can take away, and how many of them would be left, or be there in their place.
pub(super) async fn left(
    client: &Client,
    table: &TableName,
    aside: &TableName,
    shard: &ShardKey,
    disposition: &Disposition,
    begun: bool,
) -> Result<(u64, u64)> {
    let failed = |e| fault::statement("count rows", e).with("table", table);
    let there = client.query_typed_one(IS_THERE, &[(&table.sql(), Type::TEXT)]).await.map_err(failed)?;
    let is_there = there.get::<_, bool>(0);
    if !is_there && !begun {
        return Ok((0, 0));
    }
    // A newer owner may have collected what waits since the mark was read.
    let uncounted = |e| fault::staging("count rows", e).with("table", table);
    let count = async |query: String| -> Result<u64> {
        let row = client.query_typed_one(&query, &[]).await.map_err(uncounted)?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
    };
    if !is_there {
        let waiting = count(format!("SELECT pg_catalog.count(*) FROM {}", aside.sql())).await?;
        return Err(gone(table, i64::try_from(waiting).unwrap_or(i64::MAX)));
    }
    let current = match disposition {
        Disposition::Replace(_) => {
            let what = match disposition.key() {
                [] => "*".to_owned(),
                key => format!("DISTINCT ({})", list(key.iter().map(String::as_str))),
            };
            let before = count(format!("SELECT pg_catalog.count(*) FROM {}", table.sql())).await?;
            let after =
                if begun { count(format!("SELECT pg_catalog.count({what}) FROM {}", aside.sql())).await? } else { 0 };
            return Ok((before, after));
        }
        Disposition::Scd2(scd2) => format!(" AND t.{} IS NULL", quoted(&scd2.valid_to)),
        Disposition::Upsert(_) => String::new(),
        _ => return Ok((0, 0)),
    };
    let own = format!("FROM {} t WHERE {}{current}", table.sql(), own(shard, "t"));
    let before = count(format!("SELECT pg_catalog.count(*) {own}")).await?;
    if !begun {
        return Ok((before, 0));
    }
    let same =
        disposition.key().iter().map(|c| format!("t.{c} = a.{c}", c = quoted(c))).collect::<Vec<_>>().join(" AND ");
    let after =
        count(format!("SELECT pg_catalog.count(*) {own} AND EXISTS (SELECT 1 FROM {} a WHERE {same})", aside.sql()))
            .await?;
    Ok((before, after))
}

/// The condition that a row is of this shard of the pipeline.
fn own(shard: &ShardKey, alias: &str) -> String {
    // The names of pipelines may begin alike; a number of twenty digits follows.
    let prefix = load_prefix(shard);
    let (load, length) = (quoted(LOAD), prefix.chars().count());
    format!(
        "pg_catalog.left({alias}.{load}, {length}) = {} AND pg_catalog.length({alias}.{load}) = {}",
        literal(&prefix),
        length + 20
    )
}
