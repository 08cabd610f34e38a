use super::own::Own;
use super::schema;
use super::staged::{DeltaFile, DeltaStaged, Names};
use super::stats;
use crate::columnar::files::options::Options;
use crate::columnar::files::partition::Partitioning;
use crate::columnar::files::sort::Order;
use crate::columnar::files::transform::{derive, refuse_unnameable};
use crate::columnar::files::{FileWriter, Finished};
use crate::columnar::{Batch, Transform};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::Reject;
use crate::sink::{Disposition, EpochContext, Scd2, StagedOutput, Writer};
use crate::store::{ObjectPath, Store};
use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::not;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use std::sync::Arc;

/// Bytes of statistics of the files of one epoch.
const MOST_STATS: usize = 2 << 20;

/// An epoch is cut where a response ends: it may have so many times the rows with which it is full, and no more.
const MOST_TIMES: u64 = 4;

/// Stages one epoch of a [`DeltaTable`](super::DeltaTable): Parquet files in the folder of the table, which nobody sees
/// before its log names them.
#[derive(Debug)]
pub struct DeltaWriter {
    pub(super) files: FileWriter,
    /// The columns that the table has, if there is one.
    pub(super) table: Option<SchemaRef>,
    /// Columns that rows must have.
    required: Vec<String>,
    /// Columns that must not be null, each with the word for the quarantine.
    not_null: Vec<(String, &'static str)>,
    pub(super) partition_by: Vec<String>,
    /// How what the commit writes is sorted.
    pub(super) sort_by: Vec<String>,
    transforms: Vec<Transform>,
    own: Own,
    disposition: Disposition,
    /// Known with the first batch.
    planned: Option<Planned>,
    pub(super) rows: u64,
    /// From this many rows on the epoch is full: the commit has their keys in memory.
    pub(super) most_rows: u64,
    /// Whether there is something to commit without rows too.
    pub(super) must_commit: bool,
    /// Whether the table may not be made and not be given columns.
    pub(super) frozen: bool,
    env: Env,
}

/// The columns of an epoch.
#[derive(Clone, Debug)]
struct Planned {
    /// Those of the batches.
    rows: SchemaRef,
    /// Those of the batches as Delta has them.
    stored: SchemaRef,
    /// Those of the files.
    files: SchemaRef,
}

impl DeltaWriter {
    pub(super) fn new(
        store: Store,
        folder: ObjectPath,
        options: Options,
        disposition: &Disposition,
        records: bool,
        context: &EpochContext,
    ) -> Self {
        let (partition_by, transforms) = (options.partition_by.clone(), options.transforms.clone());
        let derived = transforms.iter().filter(|transform| transform.is_derived()).map(Transform::name).collect();
        let names = Arc::new(Names::staged(context));
        let env = context.env.clone();
        Self {
            files: FileWriter::new(store, folder, options, names, env.clone(), Arc::new(|_: &[_], _: &[_]| Ok(()))),
            table: None,
            required: disposition.columns().map(str::to_owned).collect(),
            not_null: not_null(disposition),
            partition_by,
            sort_by: Vec::new(),
            own: Own::of(context, disposition, records, derived),
            disposition: disposition.clone(),
            transforms,
            planned: None,
            rows: 0,
            most_rows: u64::MAX,
            must_commit: context.must_commit,
            frozen: false,
            env,
        }
    }

    /// The columns of the files for a batch.
    fn plan(&mut self, rows: &SchemaRef) -> Result<Planned> {
        if let Some(planned) = &self.planned {
            if Arc::ptr_eq(&planned.rows, rows) || planned.rows.fields() == rows.fields() {
                return Ok(planned.clone());
            }
            return Err(Error::data("stage delta", "the columns changed within an epoch")
                .with_hint("declare the schema, so that every batch has the same columns"));
        }
        for column in &self.required {
            if rows.field_with_name(column).is_err() {
                return Err(Error::config("stage delta", "the rows have no column that the disposition names")
                    .with("column", column));
            }
        }
        let stored = schema::plan(rows, self.table.as_deref())?;
        self.own.check(&stored)?;
        let files = self.own.added(&stored)?;
        self.check_named(&self.own.table(&files))?;
        if self.frozen {
            self.check_frozen(&self.own.table(&files))?;
        }
        let planned = Planned { rows: Arc::clone(rows), stored, files };
        self.planned = Some(planned.clone());
        Ok(planned)
    }

    /// What the commit needs of the columns is looked at before anything is staged.
    fn check_named(&self, files: &Schema) -> Result<()> {
        let of_table = self.table.iter().flat_map(|table| table.fields());
        let more = of_table.filter(|field| files.field_with_name(field.name()).is_err());
        let all: Schema = Schema::new(files.fields().iter().chain(more).cloned().collect::<Vec<_>>());
        if let Some(column) = self.required.iter().find(|column| all.field_with_name(column).is_err()) {
            return Err(Error::config("stage delta", "a column that the disposition names has no type yet")
                .with("column", column)
                .with_hint("declare its type in the schema"));
        }
        let by = Partitioning::new(&Arc::new(all), &self.partition_by)?;
        Order::new(&by.rest, &self.sort_by).map(drop)
    }

    fn check_frozen(&self, files: &Schema) -> Result<()> {
        let refuse =
            |message| Error::config("stage delta", message).with_hint("change the table first, or do not freeze it");
        let Some(table) = &self.table else {
            return Err(refuse("the table is frozen, and it is not there"));
        };
        match files.fields().iter().find(|field| table.field_with_name(field.name()).is_err()) {
            Some(new) => Err(refuse("the table is frozen, and it lacks a column").with("column", new.name())),
            None => Ok(()),
        }
    }

    /// Refuses more keys than the commit should hold: once the epoch is prepared there is no way back.
    fn check_room(&self, more: usize) -> Result<()> {
        let (rows, most) = (self.rows + more as u64, self.most_rows.saturating_mul(MOST_TIMES));
        if rows <= most {
            return Ok(());
        }
        Err(Error::data("stage delta", "one response has more rows than can be merged at once")
            .with("rows", rows)
            .with("limit", most)
            .with_hint(
                "ask for less in one response: pages, or a window of time; or put what was landed into a table by `append`, or by \
                 `Replace` with a key, which take any number of rows",
            ))
    }

    /// Takes out the rows for which `bad` is true.
    fn refuse(
        batch: Batch,
        bad: &BooleanArray,
        rejects: &mut Vec<Reject>,
        code: &'static str,
        why: &str,
    ) -> Result<Batch> {
        let numbers = bad.iter().enumerate().filter(|(_, bad)| *bad == Some(true));
        rejects.extend(numbers.map(|(row, _)| batch.reject(row, code, why)));
        let good = not(bad).map_err(|e| Error::bug("stage delta", "rows cannot be told apart").with_source(e))?;
        batch.filter(&good)
    }

    /// Takes out the rows that a Delta table cannot hold.
    fn check(&self, mut batch: Batch, rejects: &mut Vec<Reject>) -> Result<Batch> {
        if let Some((unfit, column)) = schema::unfit_times(batch.rows())? {
            let why = format!("{column}: a time is finer than a microsecond, or too far away to be told in them");
            batch = Self::refuse(batch, &unfit, rejects, "type", &why)?;
        }
        for (column, code) in &self.not_null {
            let Some(values) = batch.rows().column_by_name(column) else { continue };
            if values.logical_null_count() > 0 {
                let nulls = values.logical_nulls();
                let null = |row| Some(nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)));
                let bad: BooleanArray = (0..values.len()).map(null).collect();
                batch = Self::refuse(batch, &bad, rejects, code, &format!("`{column}` is null"))?;
            }
        }
        batch = refuse_unnameable(batch, &self.partition_by, rejects)?;
        for column in &self.partition_by {
            let Some(values) = batch.rows().column_by_name(column) else { continue };
            let text = arrow::compute::cast(values, &DataType::Utf8)
                .map_err(|e| Error::data("stage delta", "a partition value has no text").with_source(e))?;
            let bad: BooleanArray =
                text.as_string::<i32>().iter().map(|v| Some(v.is_some_and(str::is_empty))).collect();
            if bad.true_count() > 0 {
                let why = format!("{column}: an empty text, which Delta takes for null");
                batch = Self::refuse(batch, &bad, rejects, "partition", &why)?;
            }
        }
        Ok(batch)
    }
}

#[async_trait]
impl Writer for DeltaWriter {
    type Item = Batch;
    type Staged = DeltaStaged;

    async fn write(&mut self, item: Batch) -> Result<Vec<Reject>> {
        let mut rejects = Vec::new();
        let item = derive(item, &self.transforms, &mut rejects)?;
        // A batch without rows tells the columns all the same.
        let planned = self.plan(item.rows().schema_ref())?;
        let batch = self.check(item, &mut rejects)?;
        if batch.num_rows() > 0 {
            self.check_room(batch.num_rows())?;
            let rows = self.own.add(&schema::convert(batch.rows(), &planned.stored)?, &planned.files, &batch)?;
            self.rows += rows.num_rows() as u64;
            self.files.write(rows).await?;
        }
        Ok(rejects)
    }

    fn staged_bytes(&self) -> u64 {
        if self.rows >= self.most_rows { u64::MAX } else { self.files.staged_bytes() }
    }

    async fn finish(self) -> Result<Option<StagedOutput<DeltaStaged>>> {
        let Self { must_commit, planned, partition_by, own, disposition, env, .. } = self;
        let Some(Finished { files, .. }) = self.files.finish().await? else {
            let schema = planned.map(|planned| schema::text(&own.table(&planned.files))).transpose()?;
            let staged = DeltaStaged { files: Vec::new(), schema, partition_by, staged_at: env.now(), disposition };
            return Ok(must_commit.then_some(StagedOutput { staged, records: 0, bytes: 0 }));
        };
        let Some(Planned { files: schema, .. }) = planned else {
            return Err(Error::bug("stage delta", "files without columns"));
        };
        let stored: Vec<_> = files
            .into_iter()
            .map(|written| {
                let stats = stats::of(&written.footer, &schema, written.file.rows);
                let file = written.file;
                DeltaFile {
                    path: file.staged,
                    rows: file.rows,
                    bytes: file.bytes,
                    tail_crc32c: file.tail_crc32c,
                    partition: file.partition,
                    stats,
                }
            })
            .collect();
        let mut stored = stored;
        // The checkpoint that names the files is bounded: of very many of them it holds no bounds of columns.
        if stored.iter().map(|file| file.stats.len()).sum::<usize>() > MOST_STATS {
            stored.iter_mut().for_each(|file| file.stats = stats::rows_only(file.rows));
        }
        let (records, bytes) = (stored.iter().map(|f| f.rows).sum(), stored.iter().map(|f| f.bytes).sum());
        let schema = Some(schema::text(&own.table(&schema))?);
        let staged = DeltaStaged { files: stored, schema, partition_by, staged_at: env.now(), disposition };
        Ok(Some(StagedOutput { staged, records, bytes }))
    }
}

/// Columns that must not be null, each with the word for the quarantine.
fn not_null(disposition: &Disposition) -> Vec<(String, &'static str)> {
    let key = disposition.key().iter().map(|column| (column.clone(), "null_key"));
    let since = match disposition {
        Disposition::Scd2(Scd2 { since, .. }) => since.clone(),
        _ => None,
    };
    key.chain(since.map(|column| (column, "null_since"))).collect()
}
