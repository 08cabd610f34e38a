use super::Landing;
use crate::env::Env;
use crate::error::Result;
use crate::model::{LandingPosition, PipelineName, ShardKey};

/// What the landing must keep: each load that reads it publishes how far it has committed.
#[derive(Clone, Debug)]
pub struct Retention {}

impl Retention {
    /// The retention of the landing of `shard`.
    pub fn new(_landing: &Landing, _shard: &ShardKey, _env: &Env) -> Self {
        todo!()
    }

    /// Publishes that `load` has committed everything before `position`. From the first call on, what `load` has not
    /// committed is kept.
    pub async fn publish(&self, _load: &PipelineName, _position: LandingPosition) -> Result<()> {
        todo!()
    }

    /// Deletes segments that every load has committed; returns how many. Deletes nothing if no load is known.
    pub async fn collect(&self) -> Result<u64> {
        todo!()
    }
}
