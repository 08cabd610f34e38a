use super::file;
use super::log::Keep;
use super::schema;
use super::table::DeltaTable;
use crate::error::Result;
use arrow::array::RecordBatch;
use futures::TryStreamExt;

impl DeltaTable {
    /// The rows of the newest version, all in memory: for tests and small tables. None if there is no table.
    ///
    /// # Errors
    /// Those of the store; `Config` or `Corrupt` if the table cannot be read.
    pub async fn read_batches(&self) -> Result<Vec<RecordBatch>> {
        let Some(held) = self.log.newest(None, Keep::All).await? else { return Ok(Vec::new()) };
        let columns = schema::parse(&held.metadata.schema_string)?;
        let mut batches = Vec::new();
        for file in held.files.values() {
            batches.extend(file::rows(&self.log, file, &columns).await?.try_collect::<Vec<_>>().await?);
        }
        Ok(batches)
    }
}
