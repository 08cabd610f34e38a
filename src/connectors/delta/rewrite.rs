//! Rows of some files, written to new ones.

use super::actions::Add;
use super::file;
use super::stats;
use super::table::{DeltaStaged, DeltaTable, Names, millis};
use crate::columnar::files::{FileWriter, Finished};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::sink::CommitRequest;
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::TryStreamExt;
use std::sync::Arc;

/// Writes the rows of `files` for which the masks are true, with the columns of `columns`, split by partition. `one` says that all
/// of them are of one partition.
pub(super) async fn rewrite(
    table: &DeltaTable,
    env: &Env,
    request: &CommitRequest<DeltaStaged>,
    files: &[Add],
    columns: &SchemaRef,
    masks: &[BooleanArray],
    one: bool,
) -> Result<Vec<Add>> {
    let names = Names::rewritten(&request.shard, &request.mark, env);
    write(table, env, names, files, columns, masks, one).await
}

/// As [`rewrite`], under names that are given. No masks: all rows.
pub(super) async fn write(
    table: &DeltaTable,
    env: &Env,
    names: Names,
    files: &[Add],
    columns: &SchemaRef,
    masks: &[BooleanArray],
    one: bool,
) -> Result<Vec<Add>> {
    let mut options = table.options.clone();
    if one {
        options.lanes = Some(1);
    }
    let nullable: Vec<_> = columns.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let columns: SchemaRef = Arc::new(Schema::new(nullable));
    let (store, folder) = (table.log.store.clone(), table.log.folder.clone());
    let mut writer =
        FileWriter::new(store, folder, options, Arc::new(names), env.clone(), Arc::new(|_: &[_], _: &[_]| Ok(())));
    let failed = |e| Error::bug("rewrite delta", "rows cannot be taken").with_source(e);
    for (number, file) in files.iter().enumerate() {
        let mut rows = file::rows(&table.log, file, &columns).await?;
        let mut first = 0;
        while let Some(batch) = rows.try_next().await? {
            let count = batch.num_rows();
            let kept = match masks.get(number) {
                Some(mask) if first + count <= mask.len() => {
                    filter_record_batch(&batch, &mask.slice(first, count)).map_err(failed)?
                }
                Some(_) => {
                    return Err(
                        Error::corrupt("rewrite delta", "a file has more rows than it had").with("file", &file.path)
                    );
                }
                None => batch,
            };
            first += count;
            writer.write(kept).await?;
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
