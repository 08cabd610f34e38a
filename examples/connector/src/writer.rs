//! Staging: the readings of an epoch lie where no reader looks, until the sink commits them.

use crate::database::{Answer, Database};
use crate::parse::Reading;
use landfall::model::{Reject, Rows};
use landfall::sink::{EpochContext, StagedOutput, Writer};
use landfall::{Result, async_trait};
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

/// Names what a writer staged. It goes into the checkpoint, where a process of another version may find it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagedReadings {
    pub(crate) name: String,
    pub(crate) rows: u64,
}

impl StagedReadings {
    /// Of everything that makes an epoch this owner's, and this try of it: an owner that was shut out and still writes does not
    /// touch what its successor staged.
    fn of(epoch: &EpochContext) -> Self {
        let EpochContext { shard, generation, epoch, attempt, .. } = epoch;
        Self { name: format!("{shard}/g{generation}/{epoch}/{attempt}"), rows: 0 }
    }
}

/// Stages the readings of one epoch.
#[derive(Debug)]
pub struct SqliteWriter {
    database: Database,
    batch: StagedReadings,
    epoch: EpochContext,
    bytes: u64,
}

impl SqliteWriter {
    pub(crate) async fn open(database: &Database, epoch: EpochContext) -> Result<Self> {
        let batch = StagedReadings::of(&epoch);
        database.transaction("stage readings", |t| unstage(t, &batch.name)).await?;
        Ok(Self { database: database.clone(), batch, epoch, bytes: 0 })
    }
}

#[async_trait]
impl Writer for SqliteWriter {
    type Item = Rows<Reading>;
    type Staged = StagedReadings;

    async fn write(&mut self, readings: Rows<Reading>) -> Result<Vec<Reject>> {
        // SQLite would make a null of what is no number: it goes to the quarantine.
        let (refused, readings): (Vec<_>, Vec<_>) = readings.0.into_iter().partition(|r| r.celsius.is_nan());
        let staged = self.database.transaction("stage readings", |t| {
            let mut insert =
                t.prepare_cached("INSERT INTO landfall_staged VALUES (?1, ?2, ?3, ?4, ?5, ?6)").of("stage readings")?;
            let (shard, generation) = (self.epoch.shard.to_string(), self.epoch.generation);
            for Reading { station, time, celsius } in &readings {
                insert
                    .execute(params![self.batch.name, shard, generation, station, time, celsius])
                    .of("stage readings")?;
                self.bytes += (station.len() + time.len() + size_of::<f64>()) as u64;
                self.batch.rows += 1;
            }
            Ok(())
        });
        staged.await?;
        let line = |Reading { station, time, celsius }| format!("{station},{time},{celsius}");
        Ok(refused.into_iter().map(|reading| Reject::new("nan", "not a number of degrees", line(reading))).collect())
    }

    fn staged_bytes(&self) -> u64 {
        self.bytes
    }

    async fn finish(self) -> Result<Option<StagedOutput<StagedReadings>>> {
        let Self { batch, epoch, bytes, .. } = self;
        let nothing = batch.rows == 0 && !epoch.must_commit;
        Ok((!nothing).then_some(StagedOutput { records: batch.rows, staged: batch, bytes }))
    }
}

/// Takes away what lies under this name.
pub(crate) fn unstage(t: &Transaction<'_>, batch: &str) -> Result<()> {
    t.execute("DELETE FROM landfall_staged WHERE batch = ?1", [batch]).of("delete staged rows").map(drop)
}
