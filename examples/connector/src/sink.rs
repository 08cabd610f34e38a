//! The sink: readings into a table. One transaction makes an epoch visible and moves the mark.

use crate::database::{Answer, Database};
use crate::parse::Reading;
use landfall::env::Env;
use landfall::model::{Reject, Rows, ShardKey};
use landfall::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, StagedOutput, Transactional,
    Writer, decide_commit,
};
use landfall::source::ComponentConfig;
use landfall::{Error, Result, async_trait};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

/// The table `readings` of a database.
#[derive(Clone, Debug)]
pub struct SqliteReadings(Database);

impl SqliteReadings {
    /// That of `database`.
    pub fn new(database: &Database) -> Self {
        Self(database.clone())
    }
}

/// Names what a writer staged. It goes into the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    name: String,
    rows: u64,
}

impl Batch {
    /// Of everything that makes an epoch this owner's, and this try of it: an owner that was shut out and still writes does not
    /// touch what its successor staged.
    fn of(epoch: &EpochContext) -> Self {
        let EpochContext { shard, generation, epoch, attempt, .. } = epoch;
        Self { name: format!("{shard}/g{generation}/{epoch}/{attempt}"), rows: 0 }
    }
}

#[async_trait]
impl Sink for SqliteReadings {
    type Item = Rows<Reading>;
    type Staged = Batch;
    type Promise = Transactional;
    type Writer = SqliteWriter;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none().with_settings(serde_json::json!({ "table": "readings" })))
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, epoch: EpochContext) -> Result<SqliteWriter> {
        let batch = Batch::of(&epoch);
        self.0.transaction("stage readings", |t| unstage(t, &batch.name)).await?;
        Ok(SqliteWriter { database: self.0.clone(), batch, epoch, bytes: 0 })
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<Batch>) -> Result<CommitOutcome> {
        let CommitRequest { shard, mark, previous, staged, .. } = request;
        let committed = self.0.transaction("commit readings", |t| {
            match decide(held(t, &shard)?.as_ref(), &mark, previous) {
                CommitDecision::Answer(outcome) => Ok(outcome),
                CommitDecision::Apply => {
                    let rows = t
                        .execute(
                            "INSERT INTO readings SELECT station, time, celsius FROM landfall_staged WHERE batch = ?1",
                            [&staged.name],
                        )
                        .of("commit readings")?;
                    // The mark says "this epoch is here". Without its rows nobody may ever claim that: halt.
                    if rows as u64 != staged.rows {
                        return Err(Error::corrupt("commit readings", "rows that were staged are gone")
                            .with("batch", staged.name)
                            .with("staged", staged.rows)
                            .with("found", rows));
                    }
                    if !FORGETFUL {
                        unstage(t, &staged.name)?;
                    }
                    if !MARK_APART {
                        write_mark(t, &shard, &mark)?;
                    }
                    Ok(CommitOutcome::Done)
                }
            }
        });
        let outcome = committed.await?;
        if MARK_APART && outcome == CommitOutcome::Done {
            self.0.transaction("write mark", |t| write_mark(t, &shard, &mark)).await?;
        }
        Ok(outcome)
    }

    async fn mark(&self, shard: &ShardKey) -> Result<Option<Mark>> {
        self.0.transaction("read mark", |t| held(t, shard)).await
    }

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[Batch]) -> Result<u64> {
        self.0
            .transaction("collect staged rows", |t| {
                let mut find = t
                    .prepare("SELECT DISTINCT batch FROM landfall_staged WHERE shard = ?1 AND generation < ?2")
                    .of("collect staged rows")?;
                let batches = find
                    .query_map(params![shard.to_string(), below_generation], |row| row.get::<_, String>(0))
                    .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
                    .of("collect staged rows")?;
                let abandoned = batches.iter().filter(|name| keep.iter().all(|kept| kept.name != **name));
                let mut deleted = 0;
                for name in abandoned {
                    unstage(t, name)?;
                    deleted += 1;
                }
                Ok(deleted)
            })
            .await
    }
}

/// The mark that the database holds.
fn held(t: &Transaction<'_>, shard: &ShardKey) -> Result<Option<Mark>> {
    let text: Option<String> = t
        .query_row("SELECT mark FROM landfall_marks WHERE shard = ?1", [shard.to_string()], |row| row.get(0))
        .optional()
        .of("read mark")?;
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|e| Error::corrupt("read mark", "it is none").with_source(e))
    };
    text.map(read).transpose()
}

fn write_mark(t: &Transaction<'_>, shard: &ShardKey, mark: &Mark) -> Result<()> {
    let mark = serde_json::to_string(mark).map_err(|e| Error::bug("write mark", e.to_string()))?;
    t.execute("REPLACE INTO landfall_marks VALUES (?1, ?2)", params![shard.to_string(), mark])
        .of("write mark")
        .map(drop)
}

fn unstage(t: &Transaction<'_>, batch: &str) -> Result<()> {
    t.execute("DELETE FROM landfall_staged WHERE batch = ?1", [batch]).of("delete staged rows").map(drop)
}

/// The commit as it is often written: it does what it is asked to. The tests must notice.
const FORGETFUL: bool = cfg!(feature = "forgetful-commit");

/// The same: rows in one transaction, the mark in the next one.
const MARK_APART: bool = cfg!(feature = "mark-apart");

fn decide(held: Option<&Mark>, wanted: &Mark, previous: Option<u64>) -> CommitDecision {
    if FORGETFUL { CommitDecision::Apply } else { decide_commit(held, wanted, previous) }
}

/// Stages the readings of one epoch.
#[derive(Debug)]
pub struct SqliteWriter {
    database: Database,
    batch: Batch,
    epoch: EpochContext,
    bytes: u64,
}

#[async_trait]
impl Writer for SqliteWriter {
    type Item = Rows<Reading>;
    type Staged = Batch;

    async fn write(&mut self, readings: Rows<Reading>) -> Result<Vec<Reject>> {
        let staged = self.database.transaction("stage readings", |t| {
            let mut insert =
                t.prepare_cached("INSERT INTO landfall_staged VALUES (?1, ?2, ?3, ?4, ?5, ?6)").of("stage readings")?;
            let (shard, generation) = (self.epoch.shard.to_string(), self.epoch.generation);
            for Reading { station, time, celsius } in &readings.0 {
                insert
                    .execute(params![self.batch.name, shard, generation, station, time, celsius])
                    .of("stage readings")?;
                self.bytes += (station.len() + time.len() + size_of::<f64>()) as u64;
                self.batch.rows += 1;
            }
            Ok(Vec::new()) // SQLite takes every reading: nothing goes to the quarantine
        });
        staged.await
    }

    fn staged_bytes(&self) -> u64 {
        self.bytes
    }

    async fn finish(self) -> Result<Option<StagedOutput<Batch>>> {
        let Self { batch, epoch, bytes, .. } = self;
        let nothing = batch.rows == 0 && !epoch.must_commit;
        Ok((!nothing).then_some(StagedOutput { records: batch.rows, staged: batch, bytes }))
    }
}
