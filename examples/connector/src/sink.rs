//! The sink: readings into a table. One transaction makes an epoch visible and moves the mark.

use crate::database::{Answer, Database};
use crate::parse::Reading;
use crate::writer::{SqliteWriter, StagedReadings, unstage};
use landfall::env::Env;
use landfall::model::{Rows, ShardKey};
use landfall::sink::{
    CommitDecision, CommitOutcome, CommitRequest, Demand, EpochContext, Mark, Sink, Transactional, decide_commit,
};
use landfall::source::ComponentConfig;
use landfall::{Error, Result, async_trait};
use rusqlite::{OptionalExtension, Transaction, params};

/// The table `readings` of a database.
#[derive(Clone, Debug)]
pub struct SqliteReadings(Database);

impl SqliteReadings {
    /// That of `database`.
    pub fn new(database: &Database) -> Self {
        Self(database.clone())
    }
}

#[async_trait]
impl Sink for SqliteReadings {
    type Item = Rows<Reading>;
    type Staged = StagedReadings;
    type Promise = Transactional;
    type Writer = SqliteWriter;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none().with_settings(serde_json::json!({ "table": "readings" })))
    }

    fn demand(&self) -> Demand {
        Demand::Increments
    }

    async fn open(&self, epoch: EpochContext) -> Result<SqliteWriter> {
        SqliteWriter::open(&self.0, epoch).await
    }

    async fn commit(&self, _env: &Env, request: CommitRequest<StagedReadings>) -> Result<CommitOutcome> {
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

    async fn collect(&self, shard: &ShardKey, below_generation: u64, keep: &[StagedReadings]) -> Result<u64> {
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

/// The commit as it is often written: it does what it is asked to. The tests must notice.
const FORGETFUL: bool = cfg!(feature = "forgetful-commit");

/// The same: rows in one transaction, the mark in the next one.
const MARK_APART: bool = cfg!(feature = "mark-apart");

fn decide(held: Option<&Mark>, wanted: &Mark, previous: Option<u64>) -> CommitDecision {
    if FORGETFUL { CommitDecision::Apply } else { decide_commit(held, wanted, previous) }
}
