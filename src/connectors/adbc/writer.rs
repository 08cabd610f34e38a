use super::AdbcTable;
use super::apply::{EPOCH, ROW};
use super::check::{Written, check, try_out};
use super::dialect::AdbcDialect;
use super::fit::{Fitted, fit};
use super::name::{TableName, quoted};
use super::session::Session;
use super::table::{self, LOAD};
use super::types::ColumnType;
use crate::columnar::{Batch, load_id, staging};
use crate::error::{Error, Result, Status};
use crate::model::Reject;
use crate::sink::{Disposition, EpochContext, StagedOutput, Writer};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug};
use std::sync::Arc;

/// Bytes of rows that are ingested in one go.
const CHUNK_BYTES: usize = 8 << 20;

/// What an epoch staged: the table that holds its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AdbcStaged {
    /// Its name, in the schema of the control tables; `None` if the epoch only ends an enumeration.
    pub staging: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// The columns of the rows that go into the table.
    pub columns: Vec<String>,
    /// Those of them that are `true` or `false`.
    pub bools: Vec<String>,
    /// What they are staged for: the epoch rolls forward as it was prepared, whatever the sink is told meanwhile.
    pub disposition: Disposition,
}

pub(super) type StagedRows = AdbcStaged;

/// Stages one epoch of an [`AdbcTable`].
pub struct AdbcWriter {
    sink: AdbcTable,
    epoch: EpochContext,
    open: Option<Staging>,
    rows: u64,
    bytes: u64,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// A write that failed halfway leaves rows that nobody counted.
    failed: bool,
}

/// The table that rows are staged in.
#[derive(Clone)]
struct Staging {
    name: TableName,
    dialect: AdbcDialect,
    /// The columns of the batches that come now.
    schema: SchemaRef,
    /// All its columns, in order, behind the number of the row.
    columns: Vec<(String, ColumnType)>,
    /// Columns of the rows that must not be null: those of the key, and what the table says.
    key: Vec<String>,
    required: Vec<String>,
    disposition: Disposition,
}

impl AdbcWriter {
    pub(super) fn new(sink: AdbcTable, epoch: EpochContext) -> Self {
        let (waiting, waiting_bytes) = (Vec::new(), 0);
        Self { sink, epoch, open: None, rows: 0, bytes: 0, waiting, waiting_bytes, failed: false }
    }

    async fn write_batch(&mut self, batch: &Batch) -> Result<Vec<Reject>> {
        let rows = if self.sink.records { batch.with_origins()? } else { batch.rows().clone() };
        let open = match self.open.take() {
            Some(open) if open.schema.fields() == rows.schema_ref().fields() => open,
            open => self.admit(open, rows.schema()).await?,
        };
        let (plan, first) = (open.clone(), self.rows);
        self.open = Some(open);
        let fitted = self.epoch.env.cpu("fit rows", move || plan.fit(&rows, first)).await??;
        let (rows, refused) = fitted;
        self.rows += rows.num_rows() as u64;
        self.waiting_bytes += rows.get_array_memory_size();
        if rows.num_rows() > 0 {
            self.waiting.push(rows);
        }
        if self.waiting_bytes >= CHUNK_BYTES {
            self.send().await?;
        }
        Ok(refused.into_iter().map(|(row, code, reason)| batch.reject(row, code, reason)).collect())
    }

    /// Makes the table fit for rows of `schema`, and a table to stage them in, which is the one that is `open`.
    async fn admit(&mut self, open: Option<Staging>, schema: SchemaRef) -> Result<Staging> {
        self.open = open.clone();
        self.send().await?;
        let sink = self.sink.clone();
        staging::check_names(&sink.table, &schema, &sink.disposition, [LOAD, ROW, EPOCH])?;
        let name = sink.staging_name(&self.epoch)?;
        let aside = self.epoch.enumeration.map(|e| sink.aside(&self.epoch.shard, e.number));
        let load = load_id(&self.epoch.shard, self.epoch.epoch);
        let work = move |session: &mut Session| {
            let staged_as = StagedAs { name: &name, aside: aside.as_ref(), load: &load, open: open.as_ref() };
            sink.admit(session, &schema, &staged_as)
        };
        self.sink.database.run(&self.epoch.env, "stage rows", work).await
    }

    /// Ingests what waits.
    async fn send(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.waiting);
        let Some(open) = &self.open else { return Ok(()) };
        let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if count == 0 {
            return Ok(());
        }
        self.bytes += std::mem::take(&mut self.waiting_bytes) as u64;
        let (first, name) = (self.rows - count as u64, open.name.clone());
        let mut again = false;
        let work = move |session: &mut Session| {
            if std::mem::replace(&mut again, true) {
                // An earlier try may have come through, or a part of it.
                let delete = format!("DELETE FROM {} WHERE {} >= {first}", name.sql(), quoted(ROW));
                session.execute("stage rows", &delete)?;
            }
            session.ingest("stage rows", &name, batches.clone())
        };
        match self.sink.database.run(&self.epoch.env, "stage rows", work).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.unstaged(open.name.clone(), error).await),
        }
    }

    /// Why rows could not be staged in `name`: drivers have no common word for a table that is not there.
    async fn unstaged(&self, name: TableName, error: Error) -> Error {
        let looked_for = name.clone();
        let look = move |session: &mut Session| table::columns_in(session, &looked_for);
        match self.sink.database.run(&self.epoch.env, "stage rows", look).await {
            // The mark may tell who has collected them.
            Ok(columns) if columns.is_empty() => self.sink.fenced(&self.epoch).await.err().unwrap_or_else(|| {
                Error::unavailable(
                    "stage rows",
                    "the rows that were staged are gone: another instance has taken over, or somebody dropped the table",
                )
                .with_status(Status::Permanent)
                .with("table", name)
                .with_hint("run again: nothing was committed")
                .with_source(error)
            }),
            _ => error,
        }
    }
}

/// What rows are staged in, and as what.
struct StagedAs<'a> {
    name: &'a TableName,
    /// Where they wait besides, if they are of an enumeration.
    aside: Option<&'a TableName>,
    load: &'a str,
    /// What rows of other columns are staged in already.
    open: Option<&'a Staging>,
}

impl AdbcTable {
    /// Gives the table the columns of `schema`, and prepares the one that such rows are staged in: a new one, or the one that is
    /// `open`.
    fn admit(
        &self,
        session: &mut Session,
        schema: &SchemaRef,
        StagedAs { name, aside, load, open }: &StagedAs<'_>,
    ) -> Result<Staging> {
        let dialect = session.dialect;
        let relation = table::relation(session, &self.table)?;
        let there = &relation.columns;
        let held = |there: &[table::TableColumn], name: &str| {
            there.iter().find(|column| dialect.same_name(&column.name, name)).cloned()
        };
        let kind = |field: &Field| ColumnType::for_field(field, dialect);
        let kind_of = |name: &str| held(there, name).and_then(|column| column.kind);
        let wanted = staging::typed(&self.table, schema, &self.disposition, kind, kind_of)?;
        let text = |name: &str| (name.to_owned(), ColumnType::Text(None));
        let number = |name: &str| (name.to_owned(), ColumnType::Int(DataType::Int64));
        let key = match &self.disposition {
            Disposition::Upsert(_) | Disposition::InsertOnly(_) => self.disposition.key(),
            _ => &[],
        };
        let all: Vec<_> = wanted.iter().cloned().chain([text(LOAD)]).collect();
        if self.frozen {
            self.check_frozen(there, &all, dialect)?;
        }
        let written: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        check(&self.table, &relation, dialect, &Written { columns: &written, disposition: &self.disposition, load })?;
        let there = table::evolve(session, &self.table, &all, key)?;
        try_out(session, &self.table, &written)?;
        let columns = wanted.into_iter().map(|(name, _)| {
            let column = held(&there, &name)
                .ok_or_else(|| Error::bug("stage rows", "a column was not made").with("column", &name))?;
            let kind = column.kind.ok_or_else(|| {
                Error::config("stage rows", "a column has a type that is not written")
                    .with("table", &self.table)
                    .with("column", &name)
                    .with("type", column.sql)
                    .with_hint("give the column another type, or leave it out in a stage before the sink")
            })?;
            Ok((name, kind))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        self.check_named(schema, &columns)?;
        let comes = |name: &str| columns.iter().any(|(column, _)| dialect.same_name(column, name));
        let required: Vec<_> = there.iter().filter(|c| c.not_null && comes(&c.name)).map(|c| c.name.clone()).collect();
        if let Some(open) = open {
            staging::check_required(&self.table, &required, &open.required)?;
        }

        if let Some(aside) = aside {
            self.put_beside(session, aside, &columns, &there)?;
        }
        let staged: Vec<_> = std::iter::once(number(ROW)).chain(columns.iter().cloned()).collect();
        let all = match open {
            None => {
                // A replay by the same owner begins anew.
                session.execute("stage rows", &format!("DROP TABLE IF EXISTS {}", name.sql()))?;
                columns.clone()
            }
            Some(open) => {
                let new =
                    columns.iter().filter(|(name, _)| !open.columns.iter().any(|(n, _)| dialect.same_name(n, name)));
                open.columns.iter().chain(new).cloned().collect()
            }
        };
        table::evolve(session, name, &staged, &[])?;
        let (name, schema, key) = ((*name).clone(), Arc::clone(schema), self.disposition.key().to_vec());
        Ok(Staging { name, dialect, schema, columns: all, key, required, disposition: self.disposition.clone() })
    }

    fn check_frozen(
        &self,
        there: &[table::TableColumn],
        wanted: &[(String, ColumnType)],
        dialect: AdbcDialect,
    ) -> Result<()> {
        let is_there = |name: &str| there.iter().any(|column| dialect.same_name(&column.name, name));
        let Some((column, kind)) = wanted.iter().find(|(name, _)| !is_there(name)) else { return Ok(()) };
        let message = match there {
            [] => "the table is frozen, and it is not there",
            _ => "the table is frozen, and it lacks a column",
        };
        Err(Error::config("change table", message)
            .with("table", &self.table)
            .with("column", column)
            .with("type", kind.sql(dialect))
            .with_hint("change the table first, or do not freeze it"))
    }

    /// Checks that columns which the disposition names have types that it can use: the commit must not find out.
    fn check_named(&self, schema: &Schema, columns: &[(String, ColumnType)]) -> Result<()> {
        let kind = |name: &str| columns.iter().find(|(column, _)| column == name).map(|(_, kind)| kind);
        let source =
            |name: &str| schema.field_with_name(name).map_or(DataType::Null, |field| field.data_type().clone());
        let refuse = |name: &str, message: &'static str| {
            Err(Error::config("stage rows", message)
                .with("table", &self.table)
                .with("disposition", self.disposition.as_str())
                .with("column", name))
        };
        if let Some(newest) = self.disposition.newest() {
            if kind(newest).is_some_and(|kind| !kind.keeps_order_of(&source(newest))) {
                return refuse(newest, "the database keeps this column as text, which is ordered in another way");
            }
        }
        if let Some(deleted) = self.disposition.deleted() {
            if source(deleted) == DataType::Boolean && kind(deleted) != Some(&ColumnType::Bool) {
                return refuse(deleted, "the rows say with a bool that they are deleted, and the table keeps no bool");
            }
        }
        Ok(())
    }
}

type Refusal = (usize, &'static str, String);

impl Staging {
    /// Where the column is that the database takes for `name`.
    fn position(&self, rows: &RecordBatch, name: &str) -> Option<usize> {
        rows.schema_ref().fields().iter().position(|field| self.dialect.same_name(field.name(), name))
    }

    /// The rows of a batch as they are staged, numbered from `first` on, and those that are not.
    fn fit(&self, rows: &RecordBatch, first: u64) -> Result<(RecordBatch, Vec<Refusal>)> {
        let count = rows.num_rows();
        let mut refusals: Vec<Option<(&'static str, String)>> = vec![None; count];
        let mut refuse = |row: usize, code: &'static str, reason: &str, column: &str| {
            if let Some(refusal @ None) = refusals.get_mut(row) {
                *refusal = Some((code, format!("`{column}`{reason}")));
            }
        };
        let nulls = |name: &str| rows.column(self.position(rows, name)?).logical_nulls();
        for name in &self.key {
            for row in nulls(name).iter().flat_map(nulls_of) {
                refuse(row, "null_key", " is null", name);
            }
        }
        // Of a row that is deleted nothing goes into the table.
        let deleted = deleted(rows, &self.disposition);
        for name in &self.required {
            for row in nulls(name).iter().flat_map(nulls_of) {
                if !deleted.as_ref().is_some_and(|deleted| deleted.value(row)) {
                    refuse(row, "null", " is null", name);
                }
            }
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for (name, kind) in &self.columns {
            let values = match self.position(rows, name) {
                None => new_null_array(&kind.wire(&DataType::Null), count),
                Some(number) => {
                    let field = rows.schema_ref().field(number);
                    let Fitted { values, refused } = fit(rows.column(number), field, kind, self.dialect)?;
                    for (row, reason) in refused {
                        refuse(row, "unfit", &format!(": {reason}"), name);
                    }
                    values
                }
            };
            columns.push((name.as_str(), values));
        }
        let fields = columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true));
        let failed = |e| Error::bug("fit rows", "the columns do not fit together").with_source(e);
        let mut fields: Vec<Field> = fields.collect();
        let arrays = columns.into_iter().map(|(_, values)| values).collect();
        let fitted = RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), arrays).map_err(failed)?;
        let kept: BooleanArray = refusals.iter().map(|refusal| Some(refusal.is_none())).collect();
        let fitted =
            if kept.true_count() == count { fitted } else { filter_record_batch(&fitted, &kept).map_err(failed)? };

        let numbers = (0..fitted.num_rows() as u64).map(|row| i64::try_from(first + row).ok());
        let numbers: Int64Array = numbers.collect();
        fields.insert(0, Field::new(ROW, DataType::Int64, true));
        let arrays = std::iter::once(Arc::new(numbers) as ArrayRef).chain(fitted.columns().iter().cloned()).collect();
        let numbered = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)?;
        let refused = refusals.into_iter().enumerate().filter_map(|(row, refusal)| {
            let (code, reason) = refusal?;
            Some((row, code, reason))
        });
        Ok((numbered, refused.collect()))
    }
}

fn nulls_of(nulls: &NullBuffer) -> impl Iterator<Item = usize> + '_ {
    (0..nulls.len()).filter(|row| nulls.is_null(*row))
}

/// The rows that say of themselves that they are deleted.
fn deleted(rows: &RecordBatch, disposition: &Disposition) -> Option<BooleanBuffer> {
    let column = rows.column_by_name(disposition.deleted()?)?;
    let there = column.logical_nulls().map_or_else(|| BooleanBuffer::new_set(rows.num_rows()), NullBuffer::into_inner);
    Some(match column.as_boolean_opt() {
        Some(flags) => flags.values() & &there,
        None => there,
    })
}

#[async_trait]
impl Writer for AdbcWriter {
    type Item = Batch;
    type Staged = AdbcStaged;

    async fn write(&mut self, item: Batch) -> Result<Vec<Reject>> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(staging::incomplete());
        }
        let rejects = self.write_batch(&item).await?;
        self.failed = false;
        Ok(rejects)
    }

    fn staged_bytes(&self) -> u64 {
        self.bytes + self.waiting_bytes as u64
    }

    async fn finish(mut self) -> Result<Option<StagedOutput<AdbcStaged>>> {
        if self.failed {
            return Err(staging::incomplete());
        }
        self.send().await?;
        if self.epoch.enumeration.is_some_and(|e| e.whole) {
            self.sink.guard(&self.epoch).await?;
        }
        if self.rows == 0 && !self.epoch.must_commit {
            return Ok(None);
        }
        if let Some(open) = self.open.as_ref().filter(|_| self.rows > 0) {
            // Once it is prepared, there is no way back.
            let count = format!("SELECT count(*) FROM {}", open.name.sql());
            let count = move |session: &mut Session| session.count("stage rows", &count);
            match self.sink.database.run(&self.epoch.env, "stage rows", count).await {
                Ok(found) => staging::check_count(&open.name, self.rows, found)?,
                Err(error) => return Err(self.unstaged(open.name.clone(), error).await),
            }
        }
        let Self { sink, open, rows, bytes, .. } = self;
        let open = open.filter(|_| rows > 0);
        let staging = open.as_ref().map(|open| open.name.table.clone());
        let columns = open.map(|open| open.columns).unwrap_or_default();
        let bools =
            columns.iter().filter(|(_, kind)| *kind == ColumnType::Bool).map(|(name, _)| name.clone()).collect();
        let columns = columns.into_iter().map(|(name, _)| name).collect();
        let staged = AdbcStaged { staging, rows, columns, bools, disposition: sink.disposition };
        Ok(Some(StagedOutput { staged, records: rows, bytes }))
    }
}

impl Debug for AdbcWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdbcWriter").field("table", &self.sink.table).field("rows", &self.rows).finish_non_exhaustive()
    }
}
