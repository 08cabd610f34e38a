use crate::error::Result;
use crate::model::{Reject, Rows};
use crate::sink::{EpochContext, StagedOutput, Writer};
use async_trait::async_trait;
use std::cell::Cell;
use std::marker::PhantomData;

/// What sinks of tests stage: the rows themselves.
pub(super) struct Rowed {
    rows: Vec<u64>,
    must_commit: bool,
    /// A writer is `Send`, and no more is asked of it.
    alone: PhantomData<Cell<()>>,
}

impl Rowed {
    pub(super) fn of(epoch: &EpochContext) -> Self {
        Self { rows: Vec::new(), must_commit: epoch.must_commit, alone: PhantomData }
    }
}

#[async_trait]
impl Writer for Rowed {
    type Item = Rows<u64>;
    type Staged = Vec<u64>;

    async fn write(&mut self, item: Rows<u64>) -> Result<Vec<Reject>> {
        self.rows.extend(item.0);
        Ok(Vec::new())
    }

    fn staged_bytes(&self) -> u64 {
        8 * self.rows.len() as u64
    }

    async fn finish(self) -> Result<Option<StagedOutput<Vec<u64>>>> {
        let records = self.rows.len() as u64;
        let staged = StagedOutput { staged: self.rows, records, bytes: 8 * records };
        Ok((records > 0 || self.must_commit).then_some(staged))
    }
}
