use super::*;
use crate::model::{LoadCounts, Window};
use std::collections::BTreeSet;

fn accounts(store: &Store) -> Accounts {
    Accounts::new(&landing(store), &shard(), &load("etl")).expect("valid names")
}

async fn objects(store: &Store) -> BTreeSet<String> {
    let folder = landing(store).folder("accounts", &shard()).join("etl").expect("a valid name");
    let objects = store.list(&folder).await.expect("lists");
    objects.into_iter().map(|object| object.path.file_name().to_owned()).collect()
}

/// What a reader finds at `rows`.
async fn found(store: &Store, rows: &AccountRows) -> BTreeMap<(String, Option<Window>), LoadCounts> {
    let mut reader = AccountReader::new();
    reader.add(&landing(store), &shard(), &load("etl"), rows.clone(), &env()).await.expect("opens");
    let all = reader.all().await.expect("readable");
    all.into_iter().map(|account| ((account.partition.0, account.window), account.load)).collect()
}

/// Epochs of many windows each: some come to be, some are given up, and now and then another owner goes on.
#[tokio::test]
async fn sums_are_what_a_map_would_hold_whatever_is_given_up_and_whoever_goes_on() {
    let store = Store::memory();
    let mut dice = 7_u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let (mut held, mut saved) = (accounts(&store), AccountRows::default());
    let mut model = BTreeMap::<(String, Option<Window>), LoadCounts>::new();
    let mut generation = 1;
    for epoch in 1..=60 {
        held.restore(generation, &saved);
        let mut tried = model.clone();
        for _ in 0..roll(if epoch % 7 == 0 { 150 } else { 12 }) {
            let window = (roll(3) > 0).then(|| Window { from: Some(roll(9).to_string()), to: None });
            let partition = format!("p,\"{}", roll(6));
            let read = roll(100);
            let counts = LoadCounts { read, loaded: read, ..LoadCounts::default() };
            held.add(&partition.as_str().into(), window.as_ref(), &counts).expect("adds");
            held.make_room(&env(), epoch).await.expect("writes");
            tried.entry((partition, window)).or_default().add(&counts);
        }
        match roll(4) {
            // It goes back to the last checkpoint, or crashes before the next one.
            0 => generation += roll(2),
            _ => {
                saved = held.save(&env(), epoch).await.expect("saves");
                model = tried;
                let text = serde_json::to_string(&saved).expect("JSON");
                assert!(text.len() < 16 << 10, "{} bytes in a checkpoint", text.len());
                saved = serde_json::from_str(&text).expect("JSON");
            }
        }
        assert_eq!(found(&store, &saved).await, model, "epoch {epoch}");
        if roll(5) == 0 {
            held.collect(&saved, epoch).await.expect("collects");
            assert_eq!(found(&store, &saved).await, model, "after collection in epoch {epoch}");
        }
    }
    held.collect(&saved, 60).await.expect("collects");
    let left = objects(&store).await;
    assert!((1..=8).contains(&left.len()), "{left:?}");
}

#[tokio::test]
async fn what_a_newer_epoch_has_written_is_not_collected() {
    let store = Store::memory();
    let mut held = accounts(&store);
    held.restore(1, &AccountRows::default());
    for n in 0..20 {
        held.add(&PartitionId(format!("partition-{n}")), None, &LoadCounts::default()).expect("adds");
    }
    let named = held.save(&env(), 3).await.expect("saves");
    let before = objects(&store).await;
    assert_eq!(before.len(), 1);
    assert_eq!(held.collect(&AccountRows::default(), 2).await.expect("collects"), 0);
    assert_eq!(held.collect(&named, 3).await.expect("collects"), 0);
    assert_eq!(held.collect(&AccountRows::default(), 3).await.expect("collects"), 1);
}
