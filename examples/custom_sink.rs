//! A sink of your own: a database with transactions. Rows are staged where no reader looks; one transaction then makes them
//! visible and moves the mark. That is all a sink needs to be exactly-once.
//!
//! `cargo run --example custom_sink`

#![allow(clippy::print_stdout, clippy::disallowed_macros, reason = "it is a program")]

use landfall::checkpoint::MemoryCheckpoints;
use landfall::env::Env;
use landfall::model::{Item, Reject, Rows, ShardKey};
use landfall::pipeline::Pipeline;
use landfall::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Transactional,
    Writer, decide_commit,
};
use landfall::source::{ComponentConfig, IterSource};
use landfall::{Error, Result, async_trait};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Stands in for your database. One call of `transaction` sees and changes everything, or nothing.
#[derive(Clone, Debug, Default)]
struct Database(Arc<Mutex<Tables>>);

#[derive(Debug, Default)]
struct Tables {
    words: Vec<String>,
    staging: BTreeMap<Batch, Vec<String>>,
    marks: BTreeMap<ShardKey, Mark>,
}

impl Database {
    fn transaction<T>(&self, work: impl FnOnce(&mut Tables) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Names what was staged; it is kept in the checkpoint. It tells owners and their attempts apart: an owner that was shut out, or an
/// attempt that was given up, and still writes never touches what was staged in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Batch {
    shard: ShardKey,
    generation: u64,
    epoch: u64,
    attempt: u32,
}

#[derive(Debug)]
struct WordSink(Database);

#[async_trait]
impl Sink for WordSink {
    type Item = Rows<String>;
    type Staged = Batch;
    type Promise = Transactional;
    type Writer = WordWriter;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none().with_settings(serde_json::json!({ "table": "words" })))
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, epoch: EpochContext) -> Result<WordWriter> {
        let EpochContext { shard, generation, epoch, attempt, must_commit, .. } = epoch;
        let batch = Batch { shard, generation, epoch, attempt };
        Ok(WordWriter { database: self.0.clone(), batch, rows: Vec::new(), bytes: 0, must_commit })
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<Batch>) -> Result<CommitOutcome> {
        self.0.transaction(|t| {
            // One rule for all sinks: is it there already, is the owner the newest, does nothing lie between?
            let held = t.marks.get(&request.shard);
            match decide_commit(held, &request.mark, request.previous) {
                CommitDecision::Answer(outcome) => Ok(outcome),
                CommitDecision::Apply => {
                    // The mark says "this epoch is here". If its rows are gone, nobody may ever claim that: halt.
                    let Some(rows) = t.staging.remove(&request.staged) else {
                        return Err(Error::corrupt("commit words", "the staged rows are gone")
                            .with("shard", request.shard)
                            .with("epoch", request.mark.epoch));
                    };
                    t.words.extend(rows);
                    t.marks.insert(request.shard, request.mark);
                    Ok(CommitOutcome::Done)
                }
            }
        })
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        Ok(self.0.transaction(|t| t.marks.get(shard).cloned()))
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Batch]) -> Result<u64> {
        Ok(self.0.transaction(|t| {
            let before = t.staging.len();
            t.staging.retain(|b, _| b.shard != *shard || b.generation >= below_generation || keep.contains(b));
            (before - t.staging.len()) as u64
        }))
    }
}

#[derive(Debug)]
struct WordWriter {
    database: Database,
    batch: Batch,
    rows: Vec<String>,
    bytes: u64,
    must_commit: bool,
}

#[async_trait]
impl Writer for WordWriter {
    type Item = Rows<String>;
    type Staged = Batch;

    async fn write(&mut self, rows: Rows<String>) -> Result<Vec<Reject>> {
        self.bytes += rows.bytes();
        self.rows.extend(rows.0);
        Ok(Vec::new())
    }

    fn staged_bytes(&self) -> u64 {
        self.bytes
    }

    async fn finish(self) -> Result<Option<StagedOutput<Batch>>> {
        let Self { database, batch, rows, bytes, must_commit } = self;
        // Some epochs move the mark though they have no rows.
        if rows.is_empty() && !must_commit {
            return Ok(None);
        }
        let records = rows.len() as u64;
        database.transaction(|t| t.staging.insert(batch.clone(), rows));
        Ok(Some(StagedOutput { staged: batch, records, bytes }))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let database = Database::default();
    let checkpoints = MemoryCheckpoints::default();
    let text = "in the beginning was the word and it was counted exactly once";
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();

    let pipeline = Pipeline::named("words")
        .source(IterSource::new(words).with_batch(4))
        .sink(WordSink(database.clone()))
        .checkpoints(checkpoints)
        .build()?;
    println!("{}", pipeline.run().await?);
    println!("And again, with nothing new:\n");
    println!("{}", pipeline.run().await?);

    database.transaction(|t| {
        println!("{} words in the table: {}", t.words.len(), t.words.join(" "));
        println!("mark: {:?}", t.marks.values().next());
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall::ErrorKind;
    use landfall::model::{Incarnation, PipelineName};

    #[tokio::test]
    async fn an_epoch_whose_staged_rows_are_gone_halts_and_moves_no_mark() -> Result<()> {
        let database = Database::default();
        let sink = WordSink(database.clone());
        let shard = ShardKey { pipeline: PipelineName::new("words")?, shard: 0 };
        let mark = Mark { incarnation: Incarnation("a".into()), generation: 1, epoch: 1, digest: "x".into() };
        let staged = Batch { shard: shard.clone(), generation: 1, epoch: 1, attempt: 0 };
        let request = CommitRequest::new(shard.clone(), mark, None, staged);
        let error = sink.commit(&Env::system(), request).await.expect_err("nothing is staged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(sink.mark(&shard).await?, None);
        Ok(())
    }
}

/// Whether it keeps the contract: a test of each check, with `--features testkit`.
#[cfg(all(test, feature = "testkit"))]
mod conformance {
    use super::*;
    use landfall::testkit::Faults;
    use landfall::testkit::conformance::Destination;
    use std::ops::Range;

    #[async_trait]
    impl Destination for Database {
        type Sink = WordSink;

        fn sink(&self) -> WordSink {
            WordSink(self.clone())
        }

        async fn reached_by(&self, _faults: &Faults) -> Option<WordSink> {
            None // each call is one transaction in memory: nothing of it fails by itself
        }

        fn item(&self, numbers: Range<u64>) -> Rows<String> {
            Rows(numbers.map(|number| number.to_string()).collect())
        }

        fn bad_item(&self, _numbers: Range<u64>) -> Option<Rows<String>> {
            None // it holds every word
        }

        fn stages_outside(&self) -> bool {
            true // what is staged waits in a table of its own
        }

        async fn read(&self) -> Vec<u64> {
            let words = self.transaction(|t| t.words.clone());
            let mut numbers: Vec<u64> = words.iter().map(|word| word.parse().expect("a number")).collect();
            numbers.sort_unstable();
            numbers
        }
    }

    landfall::sink_conformance!(Database::default());
}
