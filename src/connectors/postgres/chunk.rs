use super::apply::ROW;
use super::encode::HEADER;
use super::name::{TableName, quoted};
use super::{PostgresTable, database, fault};
use crate::env::Env;
use crate::error::{Error, Result};
use bytes::Bytes;
use futures::SinkExt;

/// Rows on their way into the staging table.
pub(super) struct Chunk {
    pub sink: PostgresTable,
    pub name: TableName,
    /// The columns, with commas between them.
    pub names: String,
    /// The number of the first row.
    pub first: u64,
    pub count: u64,
    pub bytes: Bytes,
    pub env: Env,
}

impl Chunk {
    pub(super) async fn send(self) -> Result<()> {
        // Nothing of it is visible to anybody: what came of a try does not matter.
        let sent = self.sink.database.again_in_doubt(&self.env, |tried| self.try_send(tried > 0)).await;
        sent.map_err(|e| e.with("table", &self.sink.table))
    }

    async fn try_send(&self, again: bool) -> Result<()> {
        let failed = |e| fault::staging("stage rows", e).with("staging", &self.name);
        let mut client = self.sink.database.client().await?;
        let transaction = database::begin(&mut client).await.map_err(failed)?;
        if again {
            // An earlier try may have come through, and only its answer was lost; or may still be under way: it is waited for.
            let (table, row) = (self.name.sql(), quoted(ROW));
            let delete = format!(
                "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE; DELETE FROM {table} WHERE {row} >= {}",
                self.first
            );
            transaction.batch_execute(&delete).await.map_err(failed)?;
        }
        let copy = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", self.name.sql(), self.names);
        let sink = transaction.copy_in::<_, Bytes>(&copy).await.map_err(failed)?;
        let mut sink = std::pin::pin!(sink);
        sink.send(Bytes::from_static(HEADER)).await.map_err(failed)?;
        sink.send(self.bytes.clone()).await.map_err(failed)?;
        let rows = sink.finish().await.map_err(failed)?;
        if rows != self.count {
            return Err(Error::corrupt("stage rows", "other rows arrived than were sent")
                .with("sent", self.count)
                .with("arrived", rows));
        }
        transaction.commit().await.map_err(failed)
    }
}
