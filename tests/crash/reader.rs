//! The reader that looks while processes are at work: what nobody may see, it sees and tells.

use crate::world::{SHAPES, World};
use crate::worlds::{Destination, Epochs};
use landfall::model::{PipelineName, ShardKey};
use landfall::testkit::{Faults, World as _};

#[test]
fn part_of_an_epoch_is_seen_and_an_epoch_without_the_one_before() {
    let shard = |shard| ShardKey { pipeline: PipelineName::new("numbers").expect("a name"), shard };
    let epochs = Epochs::default();
    epochs.promise(&shard(0), 1, [1, 2]);
    // Repeated keys are those of the first epoch that has them.
    epochs.promise(&shard(0), 2, [2, 3, 4]);
    epochs.promise(&shard(1), 1, [5]);
    let look = |keys: &[u64]| epochs.look("rows", keys.iter().copied());
    for whole in [&[][..], &[1, 2], &[1, 2, 3, 4], &[5], &[5, 1, 2]] {
        assert_eq!(look(whole), None, "{whole:?}");
    }
    for (keys, says) in [
        (&[1][..], "1 of the 2 rows of epoch 1"),
        (&[1, 2, 4][..], "1 of the 2 rows of epoch 2"),
        (&[3, 4][..], "rows of epoch 2 of numbers/0000, and none of epoch 1"),
        (&[1, 2, 9][..], "1 rows of no epoch"),
    ] {
        let seen = look(keys).expect("nobody may see that");
        assert!(seen.partial == 1 && seen.to_string().contains(says), "{keys:?}: {seen}");
    }
}

#[tokio::test]
async fn what_is_seen_meanwhile_is_part_of_the_verdict() {
    // A table in memory changes under one lock: nobody looks.
    for shape in SHAPES.into_iter().filter(|shape| shape.into != Destination::Memory) {
        let world = World::new(shape).promising_more();
        world.process(&Faults::none()).await.expect("no faults");
        let verdict = world.verdict().await;
        assert!(verdict.partial == 1 && verdict.to_string().contains("a reader saw"), "{}: {verdict}", shape.name);
        assert!(world.looks() > 1, "{}: at each commit", shape.name);
    }
}
