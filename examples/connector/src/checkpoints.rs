//! The checkpoint store: numbered records that are written once. What they mean is none of its business.

use crate::database::{Answer, Database};
use bytes::Bytes;
use landfall::checkpoint::{ChainId, CheckpointStore};
use landfall::store::{Created, ObjectPath, Store};
use landfall::{Result, async_trait};
use rusqlite::{OptionalExtension, params};

/// Checkpoints in the database that the readings go to.
#[derive(Clone, Debug)]
pub struct SqliteCheckpoints(Database);

impl SqliteCheckpoints {
    /// Those in `database`.
    pub fn new(database: &Database) -> Self {
        Self(database.clone())
    }
}

#[async_trait]
impl CheckpointStore for SqliteCheckpoints {
    async fn create(&self, chain: &ChainId, number: u64, record: Bytes) -> Result<Created> {
        let new = self.0.transaction("create record", |t| {
            t.execute(
                "INSERT OR IGNORE INTO landfall_records VALUES (?1, ?2, ?3)",
                params![chain.as_str(), number, &record[..]],
            )
            .of("create record")
        });
        let new = new.await?;
        Ok(if new == 1 { Created::New } else { Created::Exists })
    }

    async fn read(&self, chain: &ChainId, number: u64) -> Result<Option<Bytes>> {
        self.0
            .transaction("read record", |t| {
                t.query_row(
                    "SELECT record FROM landfall_records WHERE chain = ?1 AND number = ?2",
                    params![chain.as_str(), number],
                    |row| row.get::<_, Vec<u8>>(0).map(Bytes::from),
                )
                .optional()
                .of("read record")
            })
            .await
    }

    async fn numbers(&self, chain: &ChainId) -> Result<Vec<u64>> {
        self.0
            .transaction("list records", |t| {
                t.prepare("SELECT number FROM landfall_records WHERE chain = ?1 ORDER BY number")
                    .and_then(|mut find| find.query_map([chain.as_str()], |row| row.get(0))?.collect())
                    .of("list records")
            })
            .await
    }

    async fn boundary(&self, chain: &ChainId) -> Result<u64> {
        let number = self.0.transaction("read boundary", |t| {
            t.query_row("SELECT number FROM landfall_boundaries WHERE chain = ?1", [chain.as_str()], |row| row.get(0))
                .optional()
                .of("read boundary")
        });
        Ok(number.await?.unwrap_or(0))
    }

    async fn advance_boundary(&self, chain: &ChainId, to: u64) -> Result<()> {
        self.0
            .transaction("advance boundary", |t| {
                t.execute(
                    "INSERT INTO landfall_boundaries VALUES (?1, ?2)
                 ON CONFLICT (chain) DO UPDATE SET number = max(number, excluded.number)",
                    params![chain.as_str(), to],
                )
                .of("advance boundary")
                .map(drop)
            })
            .await
    }

    async fn remove(&self, chain: &ChainId, number: u64) -> Result<()> {
        self.0
            .transaction("remove record", |t| {
                t.execute(
                    "DELETE FROM landfall_records WHERE chain = ?1 AND number = ?2",
                    params![chain.as_str(), number],
                )
                .of("remove record")
                .map(drop)
            })
            .await
    }

    fn objects(&self) -> Option<(Store, ObjectPath)> {
        None // no stage here has a state to keep; landfall says so if one has
    }
}
