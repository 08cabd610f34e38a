//! A parent whose child fails.

use crate::support::{PageNumber, Script, World};
use landfall::env::Env;
use landfall::model::{Page, Partition, PartitionId, Proof, StopReason};
use landfall::source::{ComponentConfig, Emitter, Listing, Source};
use landfall::{Error, Result, async_trait};

/// A parent that has one child; its position says whether that was listed.
struct Family {
    fails: bool,
}

#[async_trait]
impl Source for Family {
    type Item = Page;
    type Position = PageNumber;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<PageNumber>) -> Result<()> {
        let parent = PartitionId("parent".into());
        if out.position(&parent).await?.is_none() {
            out.add(Partition::new("child")).await?;
            out.advance(&parent, &PageNumber(1)).await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        env: &Env,
        partition: &Partition,
        _from: Option<PageNumber>,
        out: &mut Emitter<Page, PageNumber>,
    ) -> Result<StopReason> {
        if self.fails {
            return Err(Error::data("read child", "the API answers nonsense"));
        }
        out.emit(Page::new(partition.id.clone(), "7".to_owned(), 1, env.now()), &PageNumber(1)).await?;
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

pub async fn a_parent_stays_behind_a_child_that_fails() {
    let world = World::new(Script::new(0, 0, 0));
    let run = async |fails| world.builder_of(Family { fails }).build().expect("complete").run().await;
    run(true).await.expect_err("the child fails");
    run(false).await.expect("the child is read again");
    assert_eq!(world.rows(), [7], "nobody asks for the child any more");
}
