//! A source of pages of JSON, for the tests of sinks.

use landfall::env::Env;
use landfall::model::{Page, Partition, Proof, StopReason, Timestamp};
use landfall::source::{ComponentConfig, Emitter, Listing, RowsRead, Source};
use landfall::{Result, async_trait};

/// Pages of JSON; page numbers are positions.
#[derive(Clone, Debug)]
pub struct Pages(pub Vec<String>);

#[async_trait]
impl Source for Pages {
    type Item = Page;
    type Position = RowsRead;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<RowsRead>) -> Result<()> {
        out.add(Partition::new("all")).await
    }

    async fn read(
        &self,
        _env: &Env,
        partition: &Partition,
        from: Option<RowsRead>,
        out: &mut Emitter<Page, RowsRead>,
    ) -> Result<StopReason> {
        let from = from.map_or(0, |RowsRead(n)| n);
        for (number, body) in (1_u64..).zip(&self.0).skip(usize::try_from(from).expect("few")) {
            let records = body.matches("\"id\"").count() as u64;
            out.emit(
                Page::new(partition.id.clone(), body.clone(), records, Timestamp::from_micros(1)),
                &RowsRead(number),
            )
            .await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}
