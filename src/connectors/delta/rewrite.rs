//! Rows of some files, written to new ones.

use super::actions::Add;
use super::file;
use super::staged::{DeltaStaged, Names};
use super::stats;
use super::table::{DeltaTable, millis};
use crate::columnar::files::options::Options;
use crate::columnar::files::{FileWriter, Finished};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::sink::CommitRequest;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use futures::TryStreamExt;
use std::sync::Arc;

/// What becomes of rows, given the number of their file and the number of the first of them in it.
pub(super) type Edit<'a> = &'a (dyn Fn(usize, usize, RecordBatch) -> Result<RecordBatch> + Send + Sync);

/// Keeps the rows for which the mask of their file is true.
pub(super) fn kept(masks: &[BooleanArray]) -> impl Fn(usize, usize, RecordBatch) -> Result<RecordBatch> + Send + Sync {
    move |file, first, rows| {
        let mask = masks.get(file).filter(|mask| first + rows.num_rows() <= mask.len());
        let mask = mask.ok_or_else(|| Error::corrupt("rewrite delta", "a file has more rows than it had"))?;
        filter_record_batch(&rows, &mask.slice(first, rows.num_rows())).map_err(failed)
    }
}

/// The rows with another column of this name.
pub(super) fn with_column(rows: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    let number = rows.schema_ref().index_of(name).map_err(failed)?;
    columns.get_mut(number).into_iter().for_each(|held| *held = Arc::clone(&column));
    RecordBatch::try_new(rows.schema(), columns).map_err(failed)
}

pub(super) fn failed(error: ArrowError) -> Error {
    Error::bug("rewrite delta", "rows cannot be taken").with_source(error)
}

/// Writes rows of `files` again, as `edit` gives them, with the columns of `columns`, split by partition. `one` says that all of
/// them are of one partition.
pub(super) async fn rewrite(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    files: &[Add],
    columns: &SchemaRef,
    edit: Edit<'_>,
    one: bool,
) -> Result<Vec<Add>> {
    let names = Names::rewritten(&request.shard, &request.mark, env);
    write(table, env, names, files, columns, edit, one).await
}

/// As [`rewrite`], under names that are given.
pub(super) async fn write(
    table: &DeltaTable,
    env: &Env,
    names: Names,
    files: &[Add],
    columns: &SchemaRef,
    edit: Edit<'_>,
    one: bool,
) -> Result<Vec<Add>> {
    // They are named in the log only.
    let mut options = Options { most_files: u64::MAX, ..table.options.clone() };
    if one {
        options.lanes = Some(1);
    }
    let nullable: Vec<_> = columns.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let columns: SchemaRef = Arc::new(Schema::new(nullable));
    let (store, folder) = (table.log.store.clone(), table.log.folder.clone());
    let mut writer =
        FileWriter::new(store, folder, options, Arc::new(names), env.clone(), Arc::new(|_: &[_], _: &[_]| Ok(())));
    for (number, file) in files.iter().enumerate() {
        let mut rows = file::rows(&table.log, file, &columns).await?;
        let mut first = 0;
        while let Some(batch) = rows.try_next().await? {
            let count = batch.num_rows();
            writer.write(edit(number, first, batch).map_err(|e| e.with("file", &file.path))?).await?;
            first += count;
        }
    }
    let Some(Finished { files, .. }) = writer.finish().await? else { return Ok(Vec::new()) };
    let now = millis(env);
    let add = |written: crate::columnar::files::Written| {
        let stats = stats::of(&written.footer, &columns, written.file.rows);
        Add {
            path: file::uri(&written.file.staged),
            partition_values: written.file.partition,
            size: i64::try_from(written.file.bytes).unwrap_or(i64::MAX),
            modification_time: now,
            data_change: true,
            stats: Some(stats),
            ..Add::default()
        }
    };
    Ok(files.into_iter().map(add).collect())
}
