//! Which pairs of faults there are.

use super::histories::{Diary, at};
use super::*;
use crate::store::{ObjectPath, Store};

/// What looks whether its commit has happened, if it does not know; and does it again if nobody says so.
#[derive(Default)]
struct Hasty {
    commits: AtomicU64,
}

impl Hasty {
    async fn mark(&self, faults: &Faults) -> Result<u64> {
        faults.read_point("mark", "shard", async { Ok(self.commits.load(Ordering::SeqCst)) }).await
    }

    async fn commit(&self, faults: &Faults) -> Result<u64> {
        faults.point("commit", "shard", async { Ok(self.commits.fetch_add(1, Ordering::SeqCst)) }).await
    }
}

#[async_trait]
impl World for Hasty {
    async fn process(&self, faults: &Faults) -> Result<()> {
        if self.mark(faults).await? > 0 || self.commit(faults).await.is_ok() {
            return Ok(());
        }
        if self.mark(faults).await.unwrap_or(0) == 0 {
            self.commit(faults).await?;
        }
        Ok(())
    }

    async fn verdict(&self) -> Verdict {
        Verdict::of([1], (0..self.commits.load(Ordering::SeqCst)).map(|_| 1))
    }

    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

const ANSWERS: [Mode; 2] = [Mode::LostResponse, Mode::Fail];

#[tokio::test]
async fn two_faults_of_a_process_that_lives_on_are_tried_and_can_be_repeated() {
    let hasty = Schedules::of(Hasty::default).modes(ANSWERS);
    let both = Schedule::both(at(1, Mode::LostResponse), at(2, Mode::Fail));
    // Also where it is drawn, of more draws than can be counted.
    let drawn = Schedules::of(Hasty::default).modes(ANSWERS).pairs(u64::MAX).until_wrong();
    for hasty in [hasty.all_pairs(), drawn] {
        let outcome = hasty.run().await;
        let [wrong] = outcome.wrong.as_slice() else { panic!("one: {outcome}") };
        assert_eq!((wrong.schedule, wrong.verdict.doubled), (both, 1), "{outcome}");
        assert_eq!(hasty.replay(both).await, wrong.verdict);
    }
}

#[tokio::test]
#[should_panic(
    expected = "repeat the first: .replay(Schedule::both(Plan { at: 1, mode: Mode::LostResponse }, Plan { at: 2, mode: Mode::Fail }))"
)]
async fn a_failure_of_two_faults_of_one_process_says_how_to_repeat_it() {
    Schedules::of(Hasty::default).modes(ANSWERS).all_pairs().run().await.assert_right();
}

#[tokio::test]
async fn both_faults_of_one_process_are_shrunk() {
    let judge = |failed: &[u64]| match failed {
        [first, second] if *first >= 1 && *second >= 3 => Verdict { lost: 1, ..Verdict::default() },
        _ => Verdict::default(),
    };
    let diary = Diary { judge: Some(judge), goes_on: true, ..Diary::default() };
    let outcome = Schedules::of(|| diary.fresh()).modes([Mode::Fail]).pairs(8).run().await;
    let wrong: Vec<_> = outcome.wrong.iter().map(|wrong| wrong.schedule).collect();
    assert_eq!(wrong, [Schedule::both(at(1, Mode::Fail), at(3, Mode::Fail))], "{outcome}");
}

/// A world in which nobody may die but the first process.
struct Once {
    store: Store,
    processes: AtomicU64,
    died: AtomicU64,
}

#[async_trait]
impl World for Once {
    async fn process(&self, faults: &Faults) -> Result<()> {
        let (store, path) = (faults.store(&self.store), ObjectPath::parse("one").expect("a name"));
        let number = self.processes.fetch_add(1, Ordering::SeqCst);
        let ended = match store.get(&path, None).await {
            Ok(_) => store.create(&path, "x".into()).await.map(drop),
            Err(error) => Err(error),
        };
        if number > 0 && faults.is_dead() {
            self.died.store(1, Ordering::SeqCst);
        }
        ended
    }

    async fn verdict(&self) -> Verdict {
        Verdict { lost: self.died.load(Ordering::SeqCst), ..Verdict::default() }
    }

    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_a_pair_is_shrunk_to_is_met() {
    let once = || Once { store: Store::memory(), processes: AtomicU64::new(0), died: AtomicU64::new(0) };
    let schedules = Schedules::of(once).modes([Mode::Late(2), Mode::Before]).all_pairs();
    let outcome = schedules.run().await;
    // At the operation before, nothing can be late.
    let first = at(1, Mode::Late(2));
    assert!(
        outcome.wrong.iter().any(|wrong| wrong.schedule == Schedule::pair(first, at(0, Mode::Before))),
        "{outcome}"
    );
    for wrong in &outcome.wrong {
        assert_eq!(schedules.replay(wrong.schedule).await, wrong.verdict, "{}", wrong.schedule);
    }
}

/// How many pairs there are of a diary, and how many worlds were made for that.
async fn all(diary: Diary, modes: &[Mode], pairs: Option<u64>) -> (u64, u64) {
    let made = AtomicU64::new(0);
    let make = || {
        made.fetch_add(1, Ordering::SeqCst);
        diary.fresh()
    };
    let schedules = Schedules::of(make).modes(modes.to_vec());
    let schedules = match pairs {
        Some(pairs) => schedules.pairs(pairs),
        None => schedules.all_pairs(),
    };
    let outcome = schedules.run().await;
    outcome.assert_right();
    (outcome.pairs, made.load(Ordering::SeqCst))
}

#[tokio::test]
async fn all_pairs_are_each_fault_and_each_within_the_recovery_from_it() {
    let (ends, goes_on) = (Diary::default(), Diary { goes_on: true, ..Diary::default() });
    // The trace, five faults, five recoveries from them, and each pair.
    for modes in [[Mode::Before].as_slice(), &[Mode::Before, Mode::Torn], &[Mode::Fail], &[Mode::Pause]] {
        assert_eq!(all(ends.clone(), modes, None).await, (25, 1 + 5 + 5 + 25), "{modes:?}");
        // Drawn often enough, they are all, and none is run twice.
        assert_eq!(all(ends.clone(), modes, Some(2_000)).await, (25, 1 + 5 + 5 + 25), "{modes:?}");
    }
    // Who goes on, and ends well, has recovered: the next process has nothing to recover from.
    assert_eq!(all(goes_on.clone(), &[Mode::Fail], None).await, (10, 1 + 5 + 5 + 10));
    assert_eq!(all(goes_on.clone(), &[Mode::Fail, Mode::LostResponse], Some(2_000)).await, (40, 1 + 10 + 10 + 40));
    // A second one at which it dies; and a first one, after which the next one goes on.
    assert_eq!(all(goes_on, &[Mode::Fail, Mode::Before], None).await, (20 + 50, 1 + 10 + 10 + 70));
}
