//! Rows from files into a sink, without a pipeline: each file is an epoch.

use crate::target::Target;
use landfall::columnar::Batch;
use landfall::columnar::arrow::array::{AsArray, RecordBatch};
use landfall::columnar::arrow::datatypes::UInt32Type;
use landfall::env::Env;
use landfall::model::{Incarnation, PipelineName, ShardKey};
use landfall::sink::{CommitOutcome, CommitRequest, Demand, Enumeration, EpochContext, Mark, Sink, Writer};
use landfall::{Error, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

const BATCH_ROWS: usize = 8192;

pub(crate) async fn write(target: Target, files: &[PathBuf]) -> Result<()> {
    match target {
        Target::Delta(table) => epochs(table, files).await,
        Target::Parquet(dataset) => epochs(dataset, files).await,
        Target::Postgres(table, _) => epochs(table, files).await,
        Target::Adbc(table) => epochs(table, files).await,
        Target::PostgresTables(..) | Target::Tables(_) => {
            Err(Error::config("write rows", "a file has the rows of one table"))
        }
    }
}

/// What came of all epochs.
#[derive(Default)]
struct Sums {
    rows: u64,
    refused: usize,
    bytes: u64,
    stage_seconds: f64,
    commit_seconds: f64,
}

async fn epochs<S: Sink<Item = Batch>>(sink: S, files: &[PathBuf]) -> Result<()> {
    sink.config()?;
    let env = Env::system();
    let mut sums = Sums::default();
    for (number, file) in (1..).zip(files) {
        // Rows are in memory before time counts.
        let batches = batches(file)?;
        if sink.demand() == Demand::Increments {
            epoch(&sink, &env, batches, None, &mut sums).await?;
            continue;
        }
        // The file is all that there is: an enumeration, and then its end.
        let begun = Enumeration::begun(number);
        epoch(&sink, &env, batches, Some(begun), &mut sums).await?;
        epoch(&sink, &env, Vec::new(), Some(Enumeration { whole: true, ..begun }), &mut sums).await?;
    }
    let Sums { rows, refused, bytes, stage_seconds, commit_seconds } = sums;
    let seconds = stage_seconds + commit_seconds;
    println!(
        "{}",
        json!({ "rows": rows, "refused": refused, "bytes": bytes, "seconds": seconds, "stage_seconds": stage_seconds,
                "commit_seconds": commit_seconds, "peak_mb": peak_mb() })
    );
    Ok(())
}

/// One epoch, after the one that the sink holds.
async fn epoch<S: Sink<Item = Batch>>(
    sink: &S,
    env: &Env,
    batches: Vec<Batch>,
    enumeration: Option<Enumeration>,
    sums: &mut Sums,
) -> Result<()> {
    let began = Instant::now();
    let shard = ShardKey { pipeline: PipelineName::new("warehouses")?, shard: 0 };
    let previous = sink.mark(&shard).await?.map(|mark| mark.epoch);
    let epoch = previous.map_or(1, |epoch| epoch + 1);
    let mut context = EpochContext::new(shard.clone(), 1, epoch, env.clone());
    (context.enumeration, context.must_commit) = (enumeration, enumeration.is_some_and(|e| e.whole));
    let mut writer = sink.open(context).await?;
    for batch in batches {
        let rejects = writer.write(batch).await?;
        for reject in &rejects {
            eprintln!("refused: {} {}", reject.code, reject.reason);
        }
        sums.refused += rejects.len();
    }
    let staged = writer.finish().await?;
    sums.stage_seconds += began.elapsed().as_secs_f64();
    // All of its rows were refused.
    let Some(staged) = staged else { return Ok(()) };
    sums.rows += staged.records;
    sums.bytes += staged.bytes;
    let began = Instant::now();
    let mark =
        Mark { incarnation: Incarnation("one".into()), generation: 1, epoch, digest: format!("of epoch {epoch}") };
    let mut request = CommitRequest::new(shard, mark, previous, staged.staged);
    request.enumeration = enumeration;
    let outcome = sink.commit(env, request).await?;
    sums.commit_seconds += began.elapsed().as_secs_f64();
    if outcome != CommitOutcome::Done {
        return Err(Error::bug("write rows", "not committed").with("outcome", format!("{outcome:?}")));
    }
    Ok(())
}

fn batches(file: &Path) -> Result<Vec<Batch>> {
    let failed = |e: String| Error::config("read rows", e).with("file", file.display());
    let opened = File::open(file).map_err(|e| failed(e.to_string()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|e| failed(e.to_string()))?;
    let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(|e| failed(e.to_string()))?;
    reader.map(|rows| batch(rows.map_err(|e| failed(e.to_string()))?)).collect()
}

/// Rows with the same number in a column `_record`, where there is one, are of one record.
fn batch(mut rows: RecordBatch) -> Result<Batch> {
    let Some((column, _)) = rows.schema().column_with_name("_record") else { return Ok(Batch::new(rows)) };
    let numbers = rows.remove_column(column).as_primitive::<UInt32Type>().values().to_vec();
    Batch::new(rows.clone()).take(&numbers)?.with_rows(rows)
}

/// The most memory that the process has had, as Linux counts it.
fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}
