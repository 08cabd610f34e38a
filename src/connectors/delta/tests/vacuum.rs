//! A vacuum beside those that sleep, and beside checkpoints that forget.

use super::replace::enumerate;
use super::*;
use crate::model::Why;
use crate::sink::{Enumeration, Replace};
use crate::store::MemoryStore;
use futures::future::{Either, select};
use std::pin::pin;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// All that is there is old by then; a machine that was suspended knows nothing of it.
async fn vacuum_much_later(store: &Store) {
    let env = env_at(env().now().saturating_add(100_000 * DAY));
    table(store).partition_by(["country"]).expect("valid").vacuum(&env, HOUR, false).await.expect("vacuums");
}

/// Sleeps at operation `at` of `work`, while a vacuum takes what is old. Gives what has come of it, `None` if there is no such operation.
async fn sleeps_at<T>(at: u64, store: &Store, work: impl AsyncFnOnce(Store) -> T) -> Option<T> {
    let faults = Faults::of([Plan { at, mode: Mode::Pause }]);
    let works = pin!(work(faults.store(store)));
    let Either::Right(((), sleeping)) = select(works, pin!(faults.until_paused())).await else { return None };
    vacuum_much_later(store).await;
    faults.resume();
    Some(sleeping.await)
}

#[tokio::test]
async fn a_compaction_that_sleeps_while_a_vacuum_deletes_its_files_names_none_of_them() {
    let (mut committed, mut given_up) = (0, 0);
    for at in 0.. {
        let store = Store::memory();
        for epoch in 1..=3 {
            let staged = stage(&table(&store), 1, epoch, rows([epoch as i64])).await;
            commit(&table(&store), 1, epoch, (epoch > 1).then(|| epoch - 1), &staged).await.expect("commits");
        }
        let compact = async |store| table(&store).compact(&env()).await;
        let Some(done) = sleeps_at(at, &store, compact).await else { break };
        *(if done.is_ok_and(|done| done.files_after == 1) { &mut committed } else { &mut given_up }) += 1;
        assert_eq!(ids(&store).await, [1, 2, 3], "at {at}");
    }
    assert!(committed > 1 && given_up > 1, "{committed} {given_up}");
}

#[tokio::test]
async fn a_commit_and_its_entry_that_sleep_while_a_vacuum_deletes_lose_nothing() {
    for at in 0.. {
        let store = Store::memory();
        let staged = stage(&table(&store).upsert(["id"]), 1, 1, rows([1, 2])).await;
        commit(&table(&store).upsert(["id"]), 1, 1, None, &staged).await.expect("commits");
        let staged = stage(&table(&store).upsert(["id"]), 1, 2, rows([2, 3])).await;
        let second = async |store| commit(&table(&store).upsert(["id"]), 1, 2, Some(1), &staged).await;
        let Some(outcome) = sleeps_at(at, &store, second).await else {
            assert!(at > 10, "a commit took {at} operations");
            break;
        };
        // What it was about to read may be gone: then it is tried again.
        if outcome.is_err() {
            commit(&table(&store).upsert(["id"]), 1, 2, Some(1), &staged).await.expect("commits");
        }
        assert_eq!(ids(&store).await, [1, 2, 3], "at {at}");
        let staged = stage(&table(&store).upsert(["id"]), 1, 3, rows([4])).await;
        commit(&table(&store).upsert(["id"]), 1, 3, Some(2), &staged).await.expect("commits");
        assert_eq!(ledger::epochs(&store).await, [1, 2, 3], "at {at}");
    }
}

#[tokio::test]
async fn the_keys_of_a_sweep_stay_while_it_reads_them() {
    for disposition in [Disposition::from(Upsert::by(["id"]).sweep(1.0)), Replace::table().key(["id"]).into()] {
        let open = |store: &Store| table(store).disposition(disposition.clone());
        for at in 0.. {
            let store = Store::memory();
            enumerate(&open(&store), 1, &[rows(0..12)], true).await.expect("loads");
            enumerate(&open(&store), 2, &[rows((0..12).filter(|id| id % 2 == 0))], false).await.expect("loads");
            let enumeration = Some(Enumeration { whole: true, ..Enumeration::begun(2) });
            let context = EpochContext { enumeration, must_commit: true, ..context(1, 4) };
            let (staged, _) = try_stage(&open(&store), context, Vec::new()).await.expect("stages");
            let request = CommitRequest { enumeration, ..request(1, 4, Some(3), &staged) };
            let commit = async |store| open(&store).commit(&env(), request).await;
            let Some(outcome) = sleeps_at(at, &store, commit).await else {
                assert!(at > 30, "a sweep took {at} operations");
                break;
            };
            assert_eq!(outcome.expect("nothing that it needs is gone"), CommitOutcome::Done, "at {at}");
            assert_eq!(ids(&store).await, [0, 2, 4, 6, 8, 10], "at {at}");
        }
    }
}

/// A store, and a process, that live by one clock.
struct Days {
    clock: ManualClock,
    env: Env,
    store: Store,
}

impl Days {
    fn new() -> Self {
        let clock = ManualClock::auto();
        clock.advance(20_000 * DAY);
        let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(4)));
        Self { store: Store::new(MemoryStore::new(&env)), clock, env }
    }

    fn table(&self) -> DeltaTable {
        table(&self.store).upsert(["country"])
    }

    /// Loads an epoch, which takes the place of the one before.
    async fn load(&self, epoch: u64) {
        let context = EpochContext::new(shard(), 1, epoch, self.env.clone());
        let (staged, _) = try_stage(&self.table(), context, vec![rows([epoch as i64 * 10])]).await.expect("stages");
        let request = request(1, epoch, (epoch > 1).then(|| epoch - 1), &staged);
        assert_eq!(self.table().commit(&self.env, request).await.expect("commits"), CommitOutcome::Done);
    }

    async fn deletes(&self, older_than: Duration) -> Result<usize> {
        self.table().vacuum(&self.env, older_than, true).await.map(|would| would.deleted.len())
    }

    async fn forget(&self, versions: std::ops::Range<u64>) {
        for version in versions {
            let path = format!("{PREFIX}/_delta_log/{version:020}.json");
            self.store.delete(&ObjectPath::parse(&path).expect("valid")).await.expect("deletes");
        }
    }
}

#[tokio::test]
async fn a_vacuum_does_not_trust_checkpoints_to_remember_what_was_removed() {
    let days = Days::new();
    days.load(1).await;
    days.clock.advance(40 * DAY);
    days.load(2).await;
    days.clock.advance(9 * DAY);
    days.table().checkpoint(&days.env).await.expect("writes");
    days.clock.advance(DAY);
    days.load(3).await;
    // The first file was removed ten days ago; the checkpoint has forgotten it, whatever the table is told now.
    let log = days.table().log;
    let held = log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    assert_eq!(held.removed.len(), 1);
    let mut metadata = held.metadata.clone();
    metadata.configuration.insert("delta.deletedFileRetentionDuration".into(), Some("interval 30 days".into()));
    log.create(&days.env, held.version + 1, vec![metadata.into()]).await.expect("creates");
    assert_eq!(days.deletes(30 * DAY).await.expect("the log tells"), 0);
    assert_eq!(days.deletes(9 * DAY).await.expect("the log tells"), 1);
    days.forget(0..2).await;
    let error = days.deletes(30 * DAY).await.expect_err("the log does not tell any more");
    assert_eq!(error.kind(), ErrorKind::Config);
    days.clock.advance(10 * DAY);
    days.load(4).await;
    assert_eq!(days.deletes(9 * DAY).await.expect("since the checkpoint it tells"), 2);
}

#[tokio::test]
async fn what_a_slow_commit_removes_was_in_the_table_until_its_version() {
    let mut slept = 0;
    for at in 0.. {
        let days = Days::new();
        days.load(1).await;
        let staged = stage(&days.table(), 1, 2, rows([20])).await;
        let faults = Faults::of([Plan { at, mode: Mode::Pause }]);
        let slow = table(&faults.store(&days.store)).upsert(["country"]);
        let commits = pin!(slow.commit(&days.env, request(1, 2, Some(1), &staged)));
        let Either::Right(((), sleeping)) = select(commits, pin!(faults.until_paused())).await else { break };
        let version = "_delta_log/00000000000000000001.json";
        if faults.trace().last().is_some_and(|p| p.operation == "create" && p.name.ends_with(version)) {
            break;
        }
        days.clock.advance(5 * HOUR);
        let since = days.env.now().as_micros() / 1000;
        faults.resume();
        assert_eq!(sleeping.await.expect("commits"), CommitOutcome::Done);
        let held = days.table().log.newest(None, log::Keep::All).await.expect("reads").expect("there");
        let removed: Vec<_> = held.removed.values().map(|removed| removed.deletion_timestamp).collect();
        assert!(matches!(removed[..], [Some(time)] if time >= since), "at {at}: {removed:?}");
        slept += 1;
    }
    assert!(slept > 4, "{slept}");
}

#[tokio::test]
async fn lists_of_pending_files_go_once_their_enumeration_is_over_or_another_has_begun() {
    let store = Store::memory();
    let table = table(&store).disposition(Replace::table());
    let folder = ObjectPath::parse(&format!("{PREFIX}/_landfall/pending")).expect("valid");
    let steps = [(1, vec![rows([1]), rows([2])], false), (2, vec![rows([3])], false), (2, vec![], true)];
    let mut left = Vec::new();
    for (number, epochs, whole) in steps {
        enumerate(&table, number, &epochs, whole).await.expect("commits");
        vacuum_much_later(&store).await;
        left.push(store.list(&folder).await.expect("lists").len());
    }
    assert_eq!(left, [2, 1, 0]);
    assert_eq!(ids(&store).await, [3]);
}

#[tokio::test]
async fn the_log_tells_of_files_from_the_version_behind_its_checkpoint_on() {
    let days = Days::new();
    for epoch in 1..=4 {
        days.load(epoch).await;
        if epoch == 2 {
            days.table().checkpoint(&days.env).await.expect("writes");
        }
        days.clock.advance(DAY);
    }
    let log = days.table().log;
    let held = log.newest(None, log::Keep::All).await.expect("reads").expect("there");
    assert_eq!((held.begins, held.version), (1, 3));
    let versions = log.versions().await.expect("lists");
    assert_eq!(log.told_since(&held).await.expect("lists"), versions[2].1.modified);
}

#[tokio::test]
async fn a_vacuum_asks_whether_the_store_keeps_conditions_unless_it_only_looks() {
    let days = Days::new();
    days.load(1).await;
    for dry_run in [true, false] {
        let faults = Faults::none();
        table(&faults.store(&days.store)).vacuum(&days.env, DAY, dry_run).await.expect("vacuums");
        let asks = faults.trace().iter().any(|point| point.name.contains("/_probe/"));
        assert_eq!(asks, !dry_run);
    }
}

#[tokio::test]
async fn what_is_just_as_old_as_is_asked_for_stays() {
    let days = Days::new();
    days.load(1).await;
    for name in ["left.parquet", "_landfall/keys/x/bucket=1/0.parquet"] {
        let path = ObjectPath::parse(&format!("{PREFIX}/{name}")).expect("valid");
        days.store.put(&path, "x".into()).await.expect("puts");
    }
    days.clock.advance(HOUR);
    assert_eq!(days.deletes(HOUR).await.expect("looks"), 0);
    days.clock.advance(Duration::from_secs(1));
    assert_eq!(days.deletes(HOUR).await.expect("looks"), 2);
}

#[tokio::test]
async fn what_was_in_the_table_of_late_or_is_young_is_told_from_what_is_foreign() {
    let days = Days::new();
    days.load(1).await;
    let object = |name: &str| ObjectPath::parse(&format!("{PREFIX}/{name}")).expect("valid");
    days.store.put(&object("notes.txt"), "x".into()).await.expect("puts");
    days.clock.advance(40 * DAY);
    days.load(2).await;
    for young in ["young.parquet", "younger.parquet"] {
        days.store.put(&object(young), "x".into()).await.expect("puts");
    }
    let report = days.table().vacuum(&days.env, DAY, true).await.expect("looks");
    let kept = |why: Why| report.kept.get(&why).map_or(0, |kept| kept.objects);
    assert_eq!((kept(Why::InUse), kept(Why::Recent), kept(Why::Foreign)), (1, 3, 1), "{report}");
}
