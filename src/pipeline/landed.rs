use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{Page, Partition, StopReason};
use crate::source::{ComponentConfig, Emitter, Listing, RowsRead, Source};
use async_trait::async_trait;

/// What another pipeline has landed, in the place of a source: nothing is read but its landing.
#[derive(Clone, Debug)]
pub struct LandedPages {
    pub(super) by: String,
}

#[async_trait]
impl Source for LandedPages {
    type Item = Page;
    type Position = RowsRead;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none().with_identity(serde_json::json!({ "landed_by": self.by })))
    }

    async fn partitions(&self, _env: &Env, _out: &mut Listing<RowsRead>) -> Result<()> {
        Ok(())
    }

    async fn read(
        &self,
        _env: &Env,
        partition: &Partition,
        _from: Option<RowsRead>,
        _out: &mut Emitter<Page, RowsRead>,
    ) -> Result<StopReason> {
        Err(Error::bug("read landed pages", "they have no partitions to read").with("partition", &partition.id))
    }
}
