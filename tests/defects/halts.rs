//! A destination that was restored from a backup while a pipeline runs.

use crate::hooked::before_commit;
use crate::support::{Script, World};
use landfall::ErrorKind;
use landfall::sink::{CommitOutcome, MemorySink};

pub async fn a_destination_that_lacks_an_epoch_halts() {
    let world = World::new(Script::new(1, 6, 10));
    // It lacks the epoch before each that it is asked for, but for the first.
    let restored = before_commit(MemorySink::new(&world.table), |step| async move {
        Ok(step.previous.map(|_| CommitOutcome::Gap { found: None }))
    });
    let failure = world
        .builder_into(restored)
        .build()
        .expect("complete")
        .run()
        .await
        .expect_err("it goes on over an epoch that is not there");
    assert_eq!(failure.error().kind(), ErrorKind::Corrupt, "{failure}");
}
