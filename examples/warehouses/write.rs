//! Rows from files into a sink, without a pipeline: each file is an epoch.

use crate::target::Target;
use landfall::columnar::Batch;
use landfall::env::Env;
use landfall::model::{Incarnation, PipelineName, ShardKey};
use landfall::sink::{CommitOutcome, CommitRequest, EpochContext, Mark, Sink, Writer};
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
    }
}

async fn epochs<S: Sink<Item = Batch>>(sink: S, files: &[PathBuf]) -> Result<()> {
    sink.config()?;
    let env = Env::system();
    let shard = ShardKey { pipeline: PipelineName::new("warehouses")?, shard: 0 };
    let (mut rows, mut refused, mut bytes, mut stage_seconds, mut commit_seconds) = (0, 0, 0, 0.0, 0.0);
    for file in files {
        // Rows are in memory before time counts.
        let batches = batches(file)?;
        let began = Instant::now();
        let previous = sink.mark(&shard).await?.map(|mark| mark.epoch);
        let epoch = previous.map_or(1, |epoch| epoch + 1);
        let mut writer = sink.open(EpochContext::new(shard.clone(), 1, epoch, env.clone())).await?;
        for batch in batches {
            let rejects = writer.write(batch).await?;
            for reject in &rejects {
                eprintln!("refused: {} {}", reject.code, reject.reason);
            }
            refused += rejects.len();
        }
        let staged = writer.finish().await?.ok_or_else(|| Error::data("write rows", "there are none"))?;
        rows += staged.records;
        bytes += staged.bytes;
        stage_seconds += began.elapsed().as_secs_f64();
        let began = Instant::now();
        let digest = format!("of epoch {epoch}");
        let mark = Mark { incarnation: Incarnation("one".into()), generation: 1, epoch, digest };
        let outcome = sink.commit(&env, CommitRequest::new(shard.clone(), mark, previous, staged.staged)).await?;
        commit_seconds += began.elapsed().as_secs_f64();
        if outcome != CommitOutcome::Done {
            return Err(Error::bug("write rows", "not committed").with("outcome", format!("{outcome:?}")));
        }
    }
    let seconds = stage_seconds + commit_seconds;
    println!(
        "{}",
        json!({ "rows": rows, "refused": refused, "bytes": bytes, "seconds": seconds, "stage_seconds": stage_seconds,
                "commit_seconds": commit_seconds, "peak_mb": peak_mb() })
    );
    Ok(())
}

fn batches(file: &Path) -> Result<Vec<Batch>> {
    let failed = |e: String| Error::config("read rows", e).with("file", file.display());
    let opened = File::open(file).map_err(|e| failed(e.to_string()))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|e| failed(e.to_string()))?;
    let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(|e| failed(e.to_string()))?;
    reader.map(|batch| batch.map(Batch::new).map_err(|e| failed(e.to_string()))).collect()
}

/// The most memory that the process has had, as Linux counts it.
fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}
