//! What keeps a table fast and small: explicit operations, each with a report. None of them touches what an epoch needs that is
//! not committed yet, and all may run beside writers.

use super::log::Keep;
use super::retention;
use super::table::DeltaTable;
use crate::env::Env;
use crate::error::{Error, Result};

impl DeltaTable {
    /// Writes a checkpoint of the log, from which readers begin. Gives the version, `None` if there is no table.
    ///
    /// # Errors
    /// Those of the store; `Config` or `Corrupt` if the table cannot be read, or wants checkpoints of another kind.
    ///
    /// # Cancellation
    /// Dropped, it has written a checkpoint or not; both are right.
    pub async fn checkpoint(&self, env: &Env) -> Result<Option<u64>> {
        let Some(held) = self.log.newest(None, Keep::All).await? else { return Ok(None) };
        let is =
            |setting: &str, value: &str| held.metadata.setting(setting).is_some_and(|v| v.eq_ignore_ascii_case(value));
        for (setting, value) in
            [("delta.checkpoint.writeStatsAsStruct", "true"), ("delta.checkpoint.writeStatsAsJson", "false")]
        {
            if is(setting, value) {
                return Err(Error::config(
                    "write delta checkpoint",
                    "the table wants statistics in another form than is written here",
                )
                .with("setting", setting)
                .with_hint("let the writer make its checkpoints that the table was set up for"));
            }
        }
        self.log.write_checkpoint(&held, retention::forgotten(env, &held.metadata)).await?;
        Ok(Some(held.version))
    }
}
