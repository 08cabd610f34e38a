//! Enumerations: where one ends and the next begins, and whether the sink takes it.

use super::running::Running;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::feed::Turn;
use crate::sink::Enumeration;
use std::sync::Arc;

impl Running {
    /// Begins an enumeration, or tells the sink that it is whole, in an epoch of its own. What came before must be cut.
    pub(super) async fn turn(&mut self, turn: Turn) -> Result<()> {
        match turn {
            Turn::Begins(number) => {
                self.whole = false;
                self.enumeration = Some(Enumeration::begun(number));
                if let Some(error) = self.refused.take() {
                    // A newer one takes its place.
                    tracing::warn!(shard = %self.load.shard, %error, "an enumeration was passed over");
                }
                Ok(())
            }
            Turn::Whole => self.end_enumeration().await,
        }
    }

    /// Tells the sink that the enumeration is whole, in an epoch of its own, once all before it is committed.
    async fn end_enumeration(&mut self) -> Result<()> {
        self.settle().await?;
        let shard = self.load.shard.clone();
        // It began before the sink demanded enumerations.
        let Some(enumeration) = self.enumeration else { return Ok(()) };
        if enumeration.quarantined > 0 && !self.load.accept_quarantined {
            let count = enumeration.quarantined;
            let error = Error::new(
                ErrorKind::Incomplete,
                "end enumeration",
                "records of it are in the quarantine; nothing was taken away",
            )
            .with("shard", shard)
            .with("quarantined", count)
            .with_hint("mend them at the source or in the stages; or allow it with `accept_quarantined()`");
            self.refused = Some(error);
            return Ok(());
        }
        self.enumeration = Some(Enumeration { whole: true, ..enumeration });
        let (sink, context) = (Arc::clone(&self.load.sink), self.context());
        let staging = async move { sink.open(context).await?.finish().await };
        match staging.await {
            Ok(Some(output)) => {
                self.epoch.since = Some(self.load.env.monotonic());
                self.epoch.output = Some(output);
                self.cut().await?;
                self.whole = true;
            }
            Ok(None) => {
                return Err(Error::bug("stage epoch", "the sink staged nothing for an enumeration that is whole")
                    .with("shard", shard));
            }
            // A guard of the sink: the next enumeration may be better, and this one must not stand in its way.
            Err(e) if e.kind() == ErrorKind::Data => self.refused = Some(e.with("shard", shard)),
            Err(e) => return Err(e),
        }
        self.enumeration = Some(enumeration);
        Ok(())
    }
}
