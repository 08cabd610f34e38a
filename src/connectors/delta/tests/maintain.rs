use super::*;
use crate::model::Why;
use crate::testkit::Target;
use futures::future::{Either, select};
use std::time::Duration;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

async fn load(store: &Store, epochs: std::ops::RangeInclusive<u64>) {
    let table = table(store).partition_by(["country"]).expect("valid");
    for epoch in epochs {
        let staged = stage(&table, 1, epoch, rows([epoch as i64 * 10, epoch as i64 * 10 + 1])).await;
        commit(&table, 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await.expect("commits");
    }
}

#[tokio::test]
async fn a_table_is_the_same_from_its_checkpoint() {
    let store = Store::memory();
    load(&store, 1..=3).await;
    let owner = table(&store).partition_by(["country"]).expect("valid");
    let before = owner.log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    assert_eq!(owner.checkpoint(&env()).await.expect("writes"), Some(2));
    // Without the versions that it stands for.
    for version in 0..=2 {
        let path = format!("{PREFIX}/_delta_log/{version:020}.json");
        store.delete(&ObjectPath::parse(&path).expect("valid")).await.expect("deletes");
    }
    let after = owner.log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    let paths = |s: &log::Snapshot| {
        s.files.values().map(|f| (f.path.clone(), f.stats.clone(), f.partition_values.clone())).collect::<Vec<_>>()
    };
    assert_eq!(paths(&after), paths(&before));
    assert_eq!((&after.txns, &after.metadata, &after.protocol), (&before.txns, &before.metadata, &before.protocol));
    let head = owner.log.newest(None, log::Keep::Head).await.expect("reads").expect("there");
    assert_eq!((&head.txns, head.files.len()), (&before.txns, 0));
    load(&store, 4..=4).await;
    assert_eq!(ids(&store).await, [10, 11, 20, 21, 30, 31, 40, 41]);
    // Also without the hint, by what is listed.
    store
        .delete(&ObjectPath::parse(&format!("{PREFIX}/_delta_log/_last_checkpoint")).expect("valid"))
        .await
        .expect("deletes");
    assert_eq!(ids(&store).await, [10, 11, 20, 21, 30, 31, 40, 41]);
}

#[tokio::test]
async fn a_writer_that_slept_while_its_version_was_cleaned_up_is_not_in_the_past() {
    let store = Store::memory();
    load(&store, 1..=1).await;
    let sleeper = table(&store).partition_by(["country"]).expect("valid");
    let staged = stage(&sleeper, 1, 2, rows([20, 21])).await;
    cleaned_by_others(&store, Some("{\"version\":3,\"size\":9}")).await;
    assert_eq!(commit(&sleeper, 1, 2, Some(1), &staged).await.expect("commits"), CommitOutcome::Done);
    assert_eq!(ids(&store).await, [10, 11, 20, 21, 101, 102, 103]);
}

/// Others write a checkpoint, commit three epochs, write a second one, and clean up what it stands for; the hint becomes `hint`.
async fn cleaned_by_others(store: &Store, hint: Option<&'static str>) {
    table(store).checkpoint(&env()).await.expect("writes");
    for shard_number in 1..=3 {
        let other = ShardKey { shard: shard_number, ..shard() };
        let context = EpochContext { shard: other.clone(), ..context(1, 1) };
        let owner = table(store).partition_by(["country"]).expect("valid");
        let (more, _) = try_stage(&owner, context, vec![rows([100 + i64::from(shard_number)])]).await.expect("stages");
        let request = CommitRequest { shard: other, ..request(1, 1, None, &more) };
        owner.commit(&env(), request).await.expect("commits");
    }
    table(store).checkpoint(&env()).await.expect("writes");
    let object = |name: &str| ObjectPath::parse(&format!("{PREFIX}/_delta_log/{name}")).expect("valid");
    for version in 0..=2 {
        store.delete(&object(&format!("{version:020}.json"))).await.expect("deletes");
    }
    match hint {
        Some(hint) => store.put(&object("_last_checkpoint"), hint.into()).await.expect("puts"),
        None => store.delete(&object("_last_checkpoint")).await.expect("deletes"),
    }
}

/// By the protocol the hint may be missing, and may be anything; or it is old.
const HINTS: [Option<&str>; 8] = [
    None,
    Some("{}"),
    Some("no JSON"),
    Some("{\"version\":3,\"size\":null}"),
    Some("{\"version\":0,\"size\":9}"),
    Some("{\"version\":3,\"parts\":0}"),
    Some("{\"version\":18446744073709551615}"),
    Some("{\"version\":18446744073709551615,\"parts\":0}"),
];

#[tokio::test]
async fn a_version_that_is_known_is_not_the_newest_where_the_next_was_cleaned_up_whatever_the_hint_says() {
    for hint in HINTS {
        let store = Store::memory();
        load(&store, 1..=1).await;
        let sleeper = table(&store).partition_by(["country"]).expect("valid");
        let staged = stage(&sleeper, 1, 2, rows([20, 21])).await;
        cleaned_by_others(&store, hint).await;
        assert_eq!(commit(&sleeper, 1, 2, Some(1), &staged).await.expect("commits"), CommitOutcome::Done);
        assert_eq!(ids(&store).await, [10, 11, 20, 21, 101, 102, 103], "{hint:?}");
        // Without a version that is missing behind the one that it knows now.
        let third = stage(&sleeper, 1, 3, rows([30])).await;
        assert_eq!(commit(&sleeper, 1, 3, Some(2), &third).await.expect("commits"), CommitOutcome::Done);
        assert_eq!(ids(&store).await, [10, 11, 20, 21, 30, 101, 102, 103], "{hint:?}");
    }
}

#[tokio::test]
async fn a_version_that_is_created_where_one_was_cleaned_up_is_not_taken_for_a_commit() {
    for hint in HINTS {
        let store = Store::memory();
        load(&store, 1..=1).await;
        let target = Target::operation("create").on(format!("{:020}.json", 1));
        let faults = Faults::at(target, Mode::Pause);
        let sleeper = table(&faults.store(&store)).partition_by(["country"]).expect("valid");
        let staged = stage(&sleeper, 1, 2, rows([20, 21])).await;
        let commits = std::pin::pin!(commit(&sleeper, 1, 2, Some(1), &staged));
        let Either::Right(((), sleeping)) = select(commits, std::pin::pin!(faults.until_paused())).await else {
            panic!("it sleeps before its version")
        };
        cleaned_by_others(&store, hint).await;
        faults.resume();
        assert_eq!(sleeping.await.expect("commits"), CommitOutcome::Done);
        assert_eq!(ids(&store).await, [10, 11, 20, 21, 101, 102, 103], "{hint:?}");
    }
}

#[tokio::test]
async fn small_files_are_put_together_by_partition() {
    let store = Store::memory();
    load(&store, 1..=4).await;
    let table = table(&store);
    let before = files(&store).await;
    let done = table.compact(&env()).await.expect("compacts");
    assert_eq!((done.files_before, done.files_after, done.rows), (8, 2, 8));
    let after = files(&store).await;
    assert_eq!((before.len(), after.len()), (8, 2));
    assert!(after.iter().all(|file| file.partition_values["country"].is_some() && !file.data_change));
    assert_eq!(ids(&store).await, [10, 11, 20, 21, 30, 31, 40, 41]);
    assert_eq!(table.compact(&env()).await.expect("nothing is small").files_before, 0);
    load(&store, 5..=5).await;
}

#[tokio::test]
async fn a_vacuum_leaves_what_readers_and_epochs_need() {
    let store = Store::memory();
    load(&store, 1..=2).await;
    let owner = table(&store).partition_by(["country"]).expect("valid");
    let waiting = stage(&owner, 1, 3, rows([30])).await;
    let stray = ObjectPath::parse(&format!("{PREFIX}/stray.parquet")).expect("valid");
    store.put(&stray, "x".into()).await.expect("puts");
    owner.compact(&env()).await.expect("compacts");
    let later = |by: Duration| {
        let env = env();
        env_at(env.now().saturating_add(by))
    };
    assert!(owner.vacuum(&later(WEEK / 2), WEEK, false).await.expect("vacuums").deleted.is_empty());
    let would = owner.vacuum(&later(WEEK * 3000), WEEK, true).await.expect("looks");
    assert_eq!(would.deleted.len(), 5, "{would:?}");
    assert!(
        would.dry_run && would.kept.contains_key(&Why::InUse) && would.kept.contains_key(&Why::Uncommitted),
        "{would}"
    );
    assert!(store.get(&stray, None).await.expect("reads").is_some(), "a dry run deletes nothing");
    let done = owner.vacuum(&later(WEEK * 3000), WEEK, false).await.expect("vacuums");
    assert_eq!((&done.deleted, &done.kept), (&would.deleted, &would.kept));
    assert!(store.get(&stray, None).await.expect("reads").is_none());
    commit(&owner, 1, 3, Some(2), &waiting).await.expect("its files are there");
    assert_eq!(ids(&store).await, [10, 11, 20, 21, 30]);
    assert_eq!(owner.vacuum(&env(), WEEK / 10_000, false).await.expect_err("too short").kind(), ErrorKind::Config);
}

#[tokio::test]
async fn tables_whose_settings_void_the_promise_are_refused() {
    for (setting, value) in [
        ("delta.setTransactionRetentionDuration", "interval 1 day"),
        ("delta.columnMapping.mode", "name"),
        ("delta.enableChangeDataFeed", "true"),
        ("delta.constraints.positive", "id > 0"),
    ] {
        let store = Store::memory();
        load(&store, 1..=1).await;
        let log = table(&store).log;
        let held = log.newest(None, log::Keep::Head).await.expect("reads").expect("there");
        let mut metadata = held.metadata.clone();
        metadata.configuration.insert(setting.into(), Some(value.into()));
        let protocol = actions::Protocol { min_reader_version: 2, min_writer_version: 5, ..Default::default() };
        log.create(&env(), held.version + 1, vec![protocol.into(), metadata.into()]).await.expect("creates");
        let error = table(&store).open(context(1, 2)).await.expect_err(setting);
        assert_eq!(error.kind(), ErrorKind::Config, "{setting}");
        assert!(error.hint().is_some(), "{setting}");
    }
    let store = Store::memory();
    load(&store, 1..=1).await;
    let log = table(&store).log;
    let features = Some(vec!["tomorrow".to_owned()]);
    let protocol = actions::Protocol {
        min_reader_version: 3,
        min_writer_version: 7,
        reader_features: features.clone(),
        writer_features: features,
    };
    log.create(&env(), 1, vec![protocol.into()]).await.expect("creates");
    let error = table(&store).mark(&shard()).await.expect_err("a feature of tomorrow");
    assert!(error.to_string().contains("tomorrow"), "{error}");
}

#[tokio::test]
async fn a_checkpoint_in_parts_counts_if_all_are_there_and_one_of_another_kind_is_refused() {
    let store = Store::memory();
    load(&store, 1..=2).await;
    let object = |name: &str| ObjectPath::parse(&format!("{PREFIX}/_delta_log/{name}")).expect("valid");
    let held = table(&store).log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    let first = held.files.keys().next().expect("a file").clone();
    for part in 1..=2 {
        let mut some = (*held).clone();
        some.files.retain(|path, _| (*path == first) == (part == 1));
        let (bytes, _) = checkpoint::write(&some, 0).expect("fits");
        let name = format!("{:020}.checkpoint.{part:010}.{:010}.parquet", 1, 2);
        store.put(&object(&name), bytes).await.expect("puts");
    }
    store.delete(&object(&format!("{:020}.json", 0))).await.expect("deletes");
    assert_eq!(ids(&store).await, [10, 11, 20, 21]);
    let second = format!("{:020}.checkpoint.{:010}.{:010}.parquet", 1, 2, 2);
    store.delete(&object(&second)).await.expect("deletes");
    let error = table(&store).mark(&shard()).await.expect_err("a part is gone");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    store.put(&object(&format!("{:020}.checkpoint.1.2.parquet", 1)), "x".into()).await.expect("puts");
    let error = table(&store).mark(&shard()).await.expect_err("of another kind");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_vacuum_where_there_is_no_table_deletes_nothing() {
    let nothing = table(&Store::memory()).vacuum(&env(), WEEK, false).await.expect("there is nothing");
    assert!(nothing.deleted.is_empty() && nothing.kept.is_empty(), "{nothing}");
}

#[tokio::test]
async fn the_hint_names_the_newest_checkpoint_and_never_goes_back() {
    let store = Store::memory();
    load(&store, 1..=1).await;
    let log = table(&store).log;
    let older = log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    let hint = async || log.last_checkpoint().await.expect("reads").map(|last| last.version);
    log.write_checkpoint(&older, 0).await.expect("writes");
    assert_eq!(hint().await, Some(0));
    load(&store, 2..=2).await;
    table(&store).checkpoint(&env()).await.expect("writes");
    assert_eq!(hint().await, Some(1));
    log.write_checkpoint(&older, 0).await.expect("writes");
    assert_eq!(hint().await, Some(1));
}

#[tokio::test]
async fn a_hint_to_a_checkpoint_that_is_gone_hides_no_table_and_a_log_without_its_beginning_is_damage() {
    let store = Store::memory();
    load(&store, 1..=2).await;
    let object = |name: &str| ObjectPath::parse(&format!("{PREFIX}/_delta_log/{name}")).expect("valid");
    store.put(&object("_last_checkpoint"), "{\"version\":1,\"size\":9}".into()).await.expect("puts");
    assert_eq!(ids(&store).await, [10, 11, 20, 21]);
    store.delete(&object(&format!("{:020}.json", 0))).await.expect("deletes");
    let error = table(&store).mark(&shard()).await.expect_err("what was before?");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn no_more_is_read_of_a_version_or_a_hint_than_there_can_be() {
    let store = Store::memory();
    load(&store, 1..=2).await;
    let object = |name: &str| ObjectPath::parse(&format!("{PREFIX}/_delta_log/{name}")).expect("valid");
    let hint = format!("{{\"version\":1,\"more\":\"{}\"}}", "x".repeat(1 << 20));
    store.put(&object("_last_checkpoint"), hint.into()).await.expect("puts");
    let log = table(&store).log;
    assert!(log.last_checkpoint().await.expect("reads").is_none(), "it is cut off");
    assert_eq!(ids(&store).await, [10, 11, 20, 21]);
    let version = object(&format!("{:020}.json", 2));
    store.put(&version, vec![0_u8; (1 << 30) + 1].into()).await.expect("puts");
    for read in [log.newest(None, log::Keep::All).await.map(drop), log.commit(2).await.map(drop)] {
        let error = read.expect_err("nobody has written it");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(version.as_str()) && text.contains("larger than any that is written"), "{text}");
    }
}

#[tokio::test]
async fn a_log_without_a_next_version_is_damage() {
    let store = Store::memory();
    load(&store, 1..=1).await;
    let log = table(&store).log;
    let held = log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    let last = log::Snapshot { version: u64::MAX, ..(*held).clone() };
    log.write_checkpoint(&last, 0).await.expect("writes");
    let first = ObjectPath::parse(&format!("{PREFIX}/_delta_log/{:020}.json", 0)).expect("valid");
    store.delete(&first).await.expect("deletes");
    let error = log.newest(None, log::Keep::All).await.expect_err("nothing can follow");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("no versions left"), "{error}");
}

#[tokio::test]
async fn a_hint_that_is_older_than_a_checkpoint_that_is_listed_does_not_hide_it() {
    let store = Store::memory();
    load(&store, 1..=1).await;
    let sleeper = table(&store).partition_by(["country"]).expect("valid");
    assert!(sleeper.mark(&shard()).await.expect("reads").is_some());
    load(&store, 2..=2).await;
    table(&store).checkpoint(&env()).await.expect("writes");
    load(&store, 3..=4).await;
    table(&store).checkpoint(&env()).await.expect("writes");
    let object = |name: &str| ObjectPath::parse(&format!("{PREFIX}/_delta_log/{name}")).expect("valid");
    for version in 0..=2 {
        store.delete(&object(&format!("{version:020}.json"))).await.expect("deletes");
    }
    store.put(&object("_last_checkpoint"), "{\"version\":1,\"size\":9}".into()).await.expect("puts");
    assert_eq!(sleeper.mark(&shard()).await.expect("reads").map(|mark| mark.epoch), Some(4));
}

#[tokio::test]
async fn a_version_that_is_known_is_followed_and_not_read_from_a_checkpoint_again() {
    let store = Store::memory();
    load(&store, 1..=1).await;
    let faults = Faults::none();
    let owner = table(&faults.store(&store)).partition_by(["country"]).expect("valid");
    let second = stage(&owner, 1, 2, rows([20])).await;
    owner.checkpoint(&env()).await.expect("writes");
    commit(&owner, 1, 2, Some(1), &second).await.expect("commits");
    let third = stage(&owner, 1, 3, rows([30])).await;
    commit(&owner, 1, 3, Some(2), &third).await.expect("commits");
    let trace = faults.trace();
    let reads = trace.iter().filter(|p| p.operation == "get" && p.name.ends_with(".checkpoint.parquet"));
    assert_eq!(reads.count(), 0);
}

#[tokio::test]
async fn a_commit_behind_a_checkpoint_whose_versions_were_cleaned_up_is_done() {
    let store = Store::memory();
    load(&store, 1..=2).await;
    let owner = table(&store).partition_by(["country"]).expect("valid");
    owner.checkpoint(&env()).await.expect("writes");
    for version in 0..=1 {
        let path = format!("{PREFIX}/_delta_log/{version:020}.json");
        store.delete(&ObjectPath::parse(&path).expect("valid")).await.expect("deletes");
    }
    let staged = stage(&owner, 1, 3, rows([30])).await;
    assert_eq!(commit(&owner, 1, 3, Some(2), &staged).await.expect("commits"), CommitOutcome::Done);
}
