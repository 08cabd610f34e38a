use super::PostgresTable;
use super::apply::ROW;
use super::children;
use super::chunk::Chunk;
use super::encode::{Rows, TRAILER};
use super::fault;
use super::name::{TableName, list, quoted};
use super::table::{self, HASH, RECORD, SEGMENT};
use super::types::ColumnType;
use crate::columnar::{Batch, staging};
use crate::error::{Error, Result};
use crate::model::{Reject, Timestamp};
use crate::sink::{Children, Disposition, EpochContext, Scd2, StagedOutput, Writer};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use tokio::task::JoinSet;

/// Encoded bytes that are copied in one go: while they are sent, the next ones are encoded.
const CHUNK_BYTES: usize = 4 << 20;

/// A row of a B-tree fits three times into a page of 8 KiB (PostgreSQL: `BTMaxItemSize`); with room for what is around the values.
const MOST_KEY_BYTES: usize = 2_600;

/// What an epoch staged: the table that holds its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StagedRows {
    /// Its name, in the schema of the control tables; `None` if the epoch only ends an enumeration.
    pub staging: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// The columns of the rows that go into the table.
    pub columns: Vec<String>,
    /// Those of them that are `true` or `false`.
    pub bools: Vec<String>,
    /// When it was staged.
    pub staged_at: Timestamp,
    /// What they are staged for: the epoch rolls forward as it was prepared, whatever the sink is told meanwhile.
    pub disposition: Disposition,
}

/// Stages one epoch of a [`PostgresTable`].
pub struct PostgresWriter {
    sink: PostgresTable,
    epoch: EpochContext,
    open: Option<Staging>,
    rows: u64,
    bytes: u64,
    /// Records that rows came from.
    groups: i64,
    /// A write that failed halfway leaves rows that nobody counted.
    failed: bool,
}

/// The table that rows are staged in.
struct Staging {
    name: TableName,
    schema: SchemaRef,
    /// The columns of the batches, with their types in the table.
    columns: Vec<(String, ColumnType)>,
    /// Those that must not be null.
    required: Vec<String>,
    /// All columns that the epoch has had so far; and those of them that are `true` or `false`.
    all: BTreeSet<String>,
    bools: BTreeSet<String>,
    buffer: Vec<u8>,
    /// Rows in the buffer.
    waiting: u64,
    sending: JoinSet<Result<()>>,
}

/// What rows are staged in, and how.
struct Admitted {
    name: TableName,
    columns: Vec<(String, ColumnType)>,
    required: Vec<String>,
}

impl PostgresWriter {
    pub(super) fn new(sink: PostgresTable, epoch: EpochContext) -> Self {
        Self { sink, epoch, open: None, rows: 0, bytes: 0, groups: 0, failed: false }
    }

    async fn write_batch(&mut self, batch: &Batch) -> Result<Vec<Reject>> {
        let rows = if self.sink.records { batch.with_origins()? } else { batch.rows().clone() };
        if self.open.as_ref().is_none_or(|open| open.schema.fields() != rows.schema_ref().fields()) {
            self.admit(rows.schema()).await?;
        }
        let Some(open) = &mut self.open else { return Err(Error::bug("stage rows", "no table to stage in")) };
        let (columns, first, buffer) = (open.columns.clone(), self.rows, std::mem::take(&mut open.buffer));
        let required = self.required(&rows);
        let hashed = self.hashed(&columns);
        let groups = self.groups(batch)?;
        let key = match &self.sink.disposition {
            Disposition::Upsert(_) | Disposition::InsertOnly(_) | Disposition::Scd2(_) | Disposition::Children(_) => {
                self.sink.disposition.key().to_vec()
            }
            _ => Vec::new(),
        };
        let encoding = self.epoch.env.cpu("encode rows", move || {
            let encoder = Rows::new(&rows, &columns, hashed.as_deref(), groups)?;
            encode(&encoder, &rows, &columns, &required, &key, first, buffer)
        });
        let Encoded { buffer, rows, refused } = encoding.await??;
        let Some(open) = &mut self.open else { return Err(Error::bug("stage rows", "no table to stage in")) };
        open.buffer = buffer;
        open.waiting += rows;
        self.rows += rows;
        if open.buffer.len() >= CHUNK_BYTES {
            self.send().await?;
        }
        Ok(refused.into_iter().map(|(row, code, reason)| batch.reject(row, code, reason)).collect())
    }

    /// Columns whose null is refused, each with a word for the quarantine.
    fn required(&self, rows: &RecordBatch) -> Vec<Required> {
        let disposition = &self.sink.disposition;
        let of = |name: &str, code| {
            let nulls = rows.column_by_name(name)?.logical_nulls();
            Some(Required { nulls, code, reason: format!("`{name}` is null") })
        };
        let key = disposition.key().iter().filter_map(|name| of(name, "null_key"));
        let since = match disposition {
            Disposition::Scd2(scd2) => scd2.since.as_deref().and_then(|name| of(name, "null_since")),
            _ => None,
        };
        let unwritten = unwritten(rows, disposition);
        let if_written = |nulls: NullBuffer| match &unwritten {
            Some(unwritten) => NullBuffer::new(nulls.inner() | unwritten),
            None => nulls,
        };
        let table = self.open.iter().flat_map(|open| &open.required).filter_map(|name| of(name, "null"));
        let table = table.map(|of| Required { nulls: of.nulls.map(if_written), ..of });
        key.chain(since).chain(table).collect()
    }

    /// The columns by which versions of a row are told apart, if they are.
    fn hashed(&self, columns: &[(String, ColumnType)]) -> Option<Vec<bool>> {
        let Disposition::Scd2(scd2) = &self.sink.disposition else { return None };
        let other = |name: &String| {
            let own = [SEGMENT, RECORD].contains(&name.as_str());
            !own && !scd2.key.contains(name) && scd2.since.as_ref() != Some(name)
        };
        Some(columns.iter().map(|(name, _)| other(name)).collect())
    }

    /// The group of each row, if it matters.
    fn groups(&mut self, batch: &Batch) -> Result<Option<Vec<i64>>> {
        if !matches!(self.sink.disposition, Disposition::Children(_)) {
            return Ok(None);
        }
        Ok(Some(children::groups(batch.records()?.values(), &mut self.groups)))
    }

    /// Makes the table fit for rows of `schema`, and a table to stage them in.
    async fn admit(&mut self, schema: SchemaRef) -> Result<()> {
        self.send().await?;
        let sink = &self.sink;
        let own = [Some(table::LOAD), sink.hash(), Some(ROW), sink.group()].into_iter().flatten();
        staging::check_names(&sink.table, &schema, &sink.disposition, own)?;
        let (this, fields) = (&*self, &schema);
        let admitted = sink.database.again(&self.epoch.env, |tried| this.try_admit(fields, tried)).await?;
        let Admitted { name, columns, required } = admitted;
        let bools = columns.iter().filter(|(_, kind)| *kind == ColumnType::Bool).map(|(name, _)| name.clone());
        let bools: BTreeSet<String> = bools.collect();
        let all = columns.iter().map(|(name, _)| name.clone());
        match &mut self.open {
            None => {
                let (all, buffer, sending) = (all.collect(), Vec::new(), JoinSet::new());
                self.open = Some(Staging { name, schema, columns, required, all, bools, buffer, waiting: 0, sending });
            }
            Some(open) => {
                open.all.extend(all);
                open.bools.extend(bools);
                (open.schema, open.columns, open.required) = (schema, columns, required);
            }
        }
        Ok(())
    }

    /// One try. Everything in it may be done twice.
    async fn try_admit(&self, schema: &SchemaRef, tried: u32) -> Result<Admitted> {
        let sink = &self.sink;
        let mut client = sink.database.client().await?;
        let relation = table::relation(&client, &sink.table).await?;
        let there = relation.as_ref().map_or(&[][..], |relation| &relation.columns);
        let kind_in = |name: &str| {
            there.iter().find(|column| column.name == name).and_then(|column| ColumnType::from_sql(&column.kind))
        };
        let wanted = staging::typed(&sink.table, schema, &sink.disposition, ColumnType::for_field, kind_in)?;
        let own = [Some(table::LOAD), sink.hash()].into_iter().flatten();
        let own: Vec<(String, ColumnType)> = own.map(|name| (name.to_owned(), ColumnType::Text)).collect();
        let all: Vec<_> = wanted.iter().chain(&own).cloned().collect();
        let held = table::evolve(&mut client, &sink.table, relation, &all, &sink.disposition, sink.frozen).await?;
        let kind_of = |name: &String| held.get(name).map(|held| held.kind.clone());
        let columns: Vec<_> = wanted
            .into_iter()
            .map(|(name, kind)| (kind_of(&name).unwrap_or(kind), name))
            .map(|(k, n)| (n, k))
            .collect();
        check_named(&sink.disposition, schema, &columns)?;
        let required = held.iter().filter(|(_, held)| held.not_null).map(|(name, _)| name.clone());
        let required: Vec<String> = required.filter(|name| !own.iter().any(|(own, _)| own == name)).collect();
        if let Some(open) = &self.open {
            staging::check_required(&sink.table, &required, &open.required)?;
        }
        if self.epoch.enumeration.is_some() {
            let aside = sink.aside(&self.epoch.shard, self.epoch.enumeration)?;
            sink.check_aside(&client, &aside, Some(&columns)).await?;
        }
        let staged = columns.iter().cloned().chain(own.into_iter().filter(|(name, _)| name == HASH));
        let definitions: Vec<_> = staged.map(|(name, kind)| format!("{} {kind}", quoted(&name))).collect();
        let name = match &self.open {
            Some(open) => open.name.clone(),
            None => sink.staging_name(&self.epoch, tried)?,
        };
        let statement = if self.open.is_none() {
            // A replay by the same owner begins anew.
            let group = sink.group().map(|group| format!("{} bigint NOT NULL", quoted(group)));
            let definitions = definitions.iter().chain(&group).map(|d| format!(", {d}")).collect::<String>();
            let (table, row) = (name.sql(), quoted(ROW));
            // A publication of all tables lets nobody delete from one in which rows have no identity; a chunk that is sent again does.
            format!(
                "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} ({row} bigint NOT NULL{definitions}); \
                 ALTER TABLE {table} REPLICA IDENTITY FULL"
            )
        } else {
            let add: Vec<_> = definitions.iter().map(|d| format!("ADD COLUMN IF NOT EXISTS {d}")).collect();
            format!("ALTER TABLE {} {}", name.sql(), add.join(", "))
        };
        let done = client.batch_execute(&statement).await;
        done.map_err(|e| fault::staging("stage rows", e).with("staging", &name))?;
        Ok(Admitted { name, columns, required })
    }

    /// Sends what is in the buffer, once the chunk before has arrived.
    async fn send(&mut self) -> Result<()> {
        self.arrive().await?;
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.waiting == 0 {
            return Ok(());
        }
        let mut chunk = std::mem::take(&mut open.buffer);
        let count = std::mem::take(&mut open.waiting);
        self.bytes += chunk.len() as u64;
        chunk.extend_from_slice(TRAILER);
        let hash = self.sink.hash();
        let names = [ROW].into_iter().chain(open.columns.iter().map(|(name, _)| name.as_str()));
        let names = names.chain(hash).chain(self.sink.group());
        let copy = Chunk {
            sink: self.sink.clone(),
            name: open.name.clone(),
            names: list(names),
            first: self.rows - count,
            count,
            bytes: chunk.into(),
            env: self.epoch.env.clone(),
        };
        open.sending.spawn(copy.send());
        Ok(())
    }

    /// Sends what is left, and looks whether all of it is there.
    async fn stage(mut self) -> Result<Option<StagedOutput<StagedRows>>> {
        self.send().await?;
        self.arrive().await?;
        if self.epoch.enumeration.is_some_and(|e| e.whole) {
            self.sink.database.again(&self.epoch.env, |_| self.sink.guard(&self.epoch)).await?;
        }
        if self.rows == 0 && !self.epoch.must_commit {
            return Ok(None);
        }
        let Self { sink, epoch, open, rows, bytes, .. } = self;
        let open = open.filter(|_| rows > 0);
        if let Some(open) = &open {
            // Once it is prepared, there is no way back.
            let found = sink.database.again(&epoch.env, |_| count(&sink, &open.name)).await?;
            staging::check_count(&open.name, rows, found)?;
        }
        let staging = open.as_ref().map(|open| open.name.table.clone());
        let (columns, bools) = open.map(|open| (open.all, open.bools)).unwrap_or_default();
        let (columns, bools) = (columns.into_iter().collect(), bools.into_iter().collect());
        let (staged_at, disposition) = (epoch.env.now(), sink.disposition);
        let staged = StagedRows { staging, rows, columns, bools, staged_at, disposition };
        Ok(Some(StagedOutput { staged, records: rows, bytes }))
    }

    async fn arrive(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        while let Some(sent) = open.sending.join_next().await {
            sent.map_err(|e| Error::bug("stage rows", "the task that sends them panicked").with_source(e))??;
        }
        Ok(())
    }
}

/// The rows of which nothing goes into the table: they say that they are deleted (and are not kept), or that a parent has no children.
fn unwritten(rows: &RecordBatch, disposition: &Disposition) -> Option<BooleanBuffer> {
    let there = |column: &dyn Array| {
        column.logical_nulls().map_or_else(|| BooleanBuffer::new_set(rows.num_rows()), NullBuffer::into_inner)
    };
    let deleted = disposition.deleted().filter(|_| !disposition.keeps_deleted());
    let gone = deleted.and_then(|name| rows.column_by_name(name)).map(|column| match column.as_boolean_opt() {
        Some(flags) => flags.values() & &there(column),
        None => there(column),
    });
    let none = match disposition {
        Disposition::Children(Children { index, .. }) => rows.column_by_name(index).map(|column| !&there(column)),
        _ => None,
    };
    match (gone, none) {
        (Some(gone), Some(none)) => Some(&gone | &none),
        (gone, none) => gone.or(none),
    }
}

/// A column that must not be null.
struct Required {
    nulls: Option<NullBuffer>,
    code: &'static str,
    reason: String,
}

struct Encoded {
    buffer: Vec<u8>,
    rows: u64,
    refused: Vec<(usize, &'static str, String)>,
}

fn encode(
    encoder: &Rows<'_>,
    rows: &RecordBatch,
    columns: &[(String, ColumnType)],
    required: &[Required],
    key: &[String],
    first: u64,
    mut buffer: Vec<u8>,
) -> Result<Encoded> {
    let mut refused = Vec::new();
    let mut number = first;
    for row in 0..rows.num_rows() {
        let is_null = |of: &&Required| of.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        if let Some(Required { code, reason, .. }) = required.iter().find(is_null) {
            refused.push((row, *code, reason.clone()));
            continue;
        }
        let ordinal =
            i64::try_from(number).map_err(|_| Error::bug("encode rows", "an epoch of more than 2^63 rows"))?;
        let start = buffer.len();
        match encoder.encode(row, ordinal, &mut buffer) {
            Ok(()) if encoder.bytes_of(key, buffer.get(start..).unwrap_or_default()) > MOST_KEY_BYTES => {
                buffer.truncate(start);
                refused.push((
                    row,
                    "long_key",
                    format!("the key has more than {MOST_KEY_BYTES} bytes, which no index holds"),
                ));
            }
            Ok(()) => number += 1,
            Err((column, reason)) => {
                let name = columns.get(column).map_or("", |(name, _)| name.as_str());
                refused.push((row, "unfit", format!("`{name}`: {reason}")));
            }
        }
    }
    Ok(Encoded { buffer, rows: number - first, refused })
}

/// Rows that are staged.
async fn count(sink: &PostgresTable, staging: &TableName) -> Result<u64> {
    let client = sink.database.client().await?;
    let count = client.query_typed_one(&format!("SELECT pg_catalog.count(*) FROM {}", staging.sql()), &[]).await;
    let count: i64 = count.map_err(|e| fault::staging("stage rows", e).with("staging", staging))?.get(0);
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Checks that columns which the disposition names have types that it can use: the commit must not find out.
fn check_named(disposition: &Disposition, schema: &Schema, columns: &[(String, ColumnType)]) -> Result<()> {
    let kind = |name: &str| columns.iter().find(|(column, _)| column == name).map(|(_, kind)| kind);
    let refuse = |name: &str, message: &'static str| {
        Err(Error::config("stage rows", message)
            .with("disposition", disposition.as_str())
            .with("column", name)
            .with("table_type", kind(name).map_or_else(String::new, ToString::to_string)))
    };
    if let Disposition::Scd2(Scd2 { since: Some(since), .. }) = disposition {
        if !matches!(kind(since), Some(ColumnType::Date | ColumnType::Timestamp | ColumnType::Timestamptz)) {
            return refuse(since, "the time from which a version holds is no date and no timestamp");
        }
    }
    if let Some(deleted) = disposition.deleted() {
        let is_bool = schema.field_with_name(deleted).is_ok_and(|field| *field.data_type() == DataType::Boolean);
        if is_bool && kind(deleted) != Some(&ColumnType::Bool) {
            return refuse(deleted, "the rows say with a bool that they are deleted, and the table keeps no bool");
        }
    }
    Ok(())
}

#[async_trait]
impl Writer for PostgresWriter {
    type Item = Batch;
    type Staged = StagedRows;

    async fn write(&mut self, item: Batch) -> Result<Vec<Reject>> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(staging::incomplete());
        }
        match self.write_batch(&item).await {
            Err(error) => Err(self.sink.unstaged(&self.epoch, error).await),
            rejects => {
                self.failed = false;
                rejects
            }
        }
    }

    fn staged_bytes(&self) -> u64 {
        self.bytes + self.open.as_ref().map_or(0, |open| open.buffer.len() as u64)
    }

    async fn finish(self) -> Result<Option<StagedOutput<StagedRows>>> {
        if self.failed {
            return Err(staging::incomplete());
        }
        let (sink, epoch) = (self.sink.clone(), self.epoch.clone());
        match self.stage().await {
            Err(error) => Err(sink.unstaged(&epoch, error).await),
            staged => staged,
        }
    }
}

impl Debug for PostgresWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresWriter")
            .field("table", &self.sink.table)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
