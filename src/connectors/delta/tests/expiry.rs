//! Old versions and files go on request, and nothing goes that somebody may need.

use super::*;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn load(store: &Store, epochs: std::ops::RangeInclusive<u64>) {
    let table = table(store).upsert(["country"]);
    for epoch in epochs {
        let staged = stage(&table, 1, epoch, rows([epoch as i64 * 10])).await;
        let outcome = commit(&table, 1, epoch, (epoch > 1).then_some(epoch - 1), &staged).await.expect("commits");
        assert_eq!(outcome, CommitOutcome::Done);
    }
}

fn later(days: u32) -> Env {
    env_at(env().now().saturating_add(100_000 * DAY + days * DAY))
}

async fn log_of(store: &Store) -> Vec<String> {
    let listed = store.list(&ObjectPath::parse(&format!("{PREFIX}/_delta_log")).expect("valid")).await.expect("lists");
    listed.iter().map(|object| object.path.file_name().to_owned()).collect()
}

#[tokio::test]
async fn versions_before_an_old_checkpoint_go_and_those_since_can_be_read() {
    let store = Store::memory();
    load(&store, 1..=3).await;
    let owner = table(&store).upsert(["country"]);
    let nothing = owner.expire_log(&later(0), None, false).await.expect("looks");
    assert_eq!((nothing.oldest_version, nothing.objects.len()), (Some(0), 0), "there is no checkpoint to begin at");
    owner.checkpoint(&env()).await.expect("writes");
    load(&store, 4..=5).await;
    let young = owner.expire_log(&env(), None, false).await.expect("looks");
    assert_eq!(young.objects.len(), 0, "nothing is old");
    let before = log_of(&store).await;
    let would = owner.expire_log(&later(0), None, true).await.expect("looks");
    assert_eq!(log_of(&store).await, before, "a dry run deletes nothing");
    assert_eq!(would.oldest_version, Some(2));
    assert_eq!(would.objects, ["_delta_log/00000000000000000000.json", "_delta_log/00000000000000000001.json"]);
    assert_eq!(owner.expire_log(&later(0), None, false).await.expect("expires"), would);
    assert_eq!(log_of(&store).await.len(), before.len() - 2);
    // By those that know an old version, and by those that know none.
    assert_eq!(ids(&store).await, [50]);
    load(&store, 6..=6).await;
    assert_eq!(ids(&store).await, [60]);
    assert_eq!(ledger::epochs(&store).await, [1, 2, 3, 4, 5, 6], "the ledger knows what the log has forgotten");
}

#[tokio::test]
async fn versions_are_kept_for_as_long_as_their_files() {
    let store = Store::memory();
    load(&store, 1..=1).await;
    let owner = table(&store).upsert(["country"]);
    let error = owner.expire_log(&later(0), Some(6 * DAY), true).await.expect_err("less than a week");
    assert_eq!(error.kind(), ErrorKind::Config);
    owner.expire_log(&later(0), Some(7 * DAY), true).await.expect("a week is enough");
}

#[tokio::test]
async fn a_vacuum_leaves_what_is_not_of_the_table() {
    let store = Store::memory();
    load(&store, 1..=2).await;
    let foreign = [
        "raw/orders/1.lz4",
        "other/_delta_log/0.json",
        "other/a.parquet",
        "notes.txt",
        "country=x/b.parquet",
        "_x.parquet",
    ];
    for name in foreign.into_iter().chain(["left.parquet", "_landfall/keys/x/bucket=1/0.parquet"]) {
        store.put(&ObjectPath::parse(&format!("{PREFIX}/{name}")).expect("valid"), "x".into()).await.expect("puts");
    }
    let done = table(&store).vacuum(&later(0), DAY, false).await.expect("vacuums");
    let gone = |name: &str| done.deleted.iter().any(|deleted| deleted.path == name);
    assert!(gone("left.parquet") && gone("_landfall/keys/x/bucket=1/0.parquet"), "{done:?}");
    for name in foreign {
        assert!(!gone(name), "{name}");
    }
    assert_eq!(ids(&store).await, [20]);
}

#[tokio::test]
async fn an_owner_that_takes_over_leaves_to_the_vacuum_what_may_have_been_in_the_table() {
    let store = Store::memory();
    load(&store, 1..=2).await;
    let owner = table(&store).upsert(["country"]);
    // The first epoch's file was replaced; the checkpoint has forgotten it.
    owner.checkpoint(&later(0)).await.expect("writes");
    for version in 0..2 {
        let path = ObjectPath::parse(&format!("{PREFIX}/_delta_log/{version:020}.json")).expect("valid");
        store.delete(&path).await.expect("deletes");
    }
    let log = table(&store).log;
    let held = log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    assert!(held.removed.is_empty());
    let orphan = stage(&owner, 1, 3, rows([7])).await;
    assert_eq!(owner.collect(&shard(), 9, &[]).await.expect("collects"), 1, "what no version can have named");
    assert!(!orphan.files.is_empty());
    assert_eq!(ids(&store).await, [20]);
}

#[tokio::test]
async fn a_barrier_whose_answer_is_lost_is_there_and_one_that_is_refused_ends_the_vacuum() {
    for (mode, refused) in [(Mode::LostResponse, None), (Mode::Refuse(ErrorKind::Auth), Some(ErrorKind::Auth))] {
        let store = Store::memory();
        load(&store, 1..=2).await;
        let stray = ObjectPath::parse(&format!("{PREFIX}/left.parquet")).expect("valid");
        store.put(&stray, "x".into()).await.expect("puts");
        let version = format!("orders/_delta_log/{:020}.json", 2);
        let faults = Faults::at(crate::testkit::Target::operation("create").on(version).times(1), mode);
        let ended = table(&faults.store(&store)).vacuum(&later(0), DAY, false).await;
        assert_eq!(ended.err().map(|error| error.kind()), refused, "{mode:?}");
        assert_eq!(store.get(&stray, None).await.expect("reads").is_some(), refused.is_some(), "{mode:?}");
        let held = table(&store).log.newest(None, log::Keep::Head).await.expect("reads").expect("there");
        assert_eq!(super::super::vacuum::barrier(&held), refused.is_none().then_some(2), "it is its version");
    }
}
