//! A history that panics is told of as any other that goes wrong.

use super::histories::{Diary, at};
use super::*;

async fn outcome(diary: Diary) -> Outcome {
    Schedules::of(|| diary.fresh()).modes([Mode::Before, Mode::Pause]).pairs(4).run().await
}

#[tokio::test]
async fn an_oracle_that_panics_has_found_something() {
    let judge = |died: &[u64]| {
        assert!(!died.contains(&3), "readable");
        Verdict::default()
    };
    let outcome = outcome(Diary { judge: Some(judge), ..Diary::default() }).await;
    let [wrong] = outcome.wrong.as_slice() else { panic!("one: {outcome}") };
    assert_eq!(wrong.schedule, Schedule::single(at(3, Mode::Before)), "{outcome}");
    let told = "Before at 3, work `3`: lost=0 doubled=0 corrupt=0 invented=0 partial=0 wrong=1; history: panicked";
    assert!(wrong.to_string().starts_with(told) && wrong.to_string().contains("readable"), "{wrong}");
    assert_eq!((outcome.schedules, outcome.unmet.len()), (14, 0), "all are run: {outcome}");
}

#[tokio::test]
async fn a_pair_that_panics_is_shrunk() {
    let judge = |died: &[u64]| {
        assert!(!matches!(died, [first, second] if *first >= 1 && *second >= 2), "readable");
        Verdict::default()
    };
    let diary = Diary { judge: Some(judge), ..Diary::default() };
    let outcome = Schedules::of(|| diary.fresh()).modes([Mode::Before]).all_pairs().run().await;
    let wrong: Vec<_> = outcome.wrong.iter().map(|wrong| wrong.schedule).collect();
    assert_eq!(wrong, [Schedule::pair(at(1, Mode::Before), at(2, Mode::Before))], "{outcome}");
}

#[tokio::test]
async fn a_process_that_panics_at_its_fault_is_told_of() {
    let diary = Diary { panics: true, ..Diary::default() };
    let fails = Schedule::single(at(2, Mode::Fail));
    let verdict = Schedules::of(|| diary.fresh()).replay(fails).await;
    assert!(verdict.to_string().contains("step 2 went well always"), "{verdict}");
    // Also where it is run to see what recovers from it.
    let outcome = Schedules::of(|| diary.fresh()).modes([Mode::Fail]).every(u64::MAX).all_pairs().run().await;
    assert_eq!(outcome.wrong.len(), 1, "{outcome}");
}

#[tokio::test]
async fn a_reader_that_panics_is_told_of() {
    let diary = Diary { seen: Some(|| panic!("half an epoch")), ..Diary::default() };
    let verdict = Schedules::of(|| diary.fresh()).replay(Schedule::single(at(2, Mode::Pause))).await;
    assert!(verdict.to_string().contains("half an epoch"), "{verdict}");
}

#[tokio::test]
async fn what_was_wrong_before_a_panic_is_told_too() {
    let judge = |_: &[u64]| -> Verdict { panic!("nothing is there") };
    let diary = Diary { judge: Some(judge), fails: Some(ErrorKind::Corrupt), ..Diary::default() };
    let verdict = Schedules::of(|| diary.fresh()).replay(Schedule::single(at(2, Mode::Before))).await;
    assert_eq!((verdict.corrupt, verdict.wrong.len()), (1, 2), "{verdict}");
    assert!(verdict.wrong[0].contains("nothing is there") && verdict.wrong[1].contains("it cannot"), "{verdict}");
}

/// A world that demands something as it is dropped, as a server with a script does.
#[derive(Default)]
struct Demanding {
    failed: AtomicU64,
}

#[async_trait]
impl World for Demanding {
    async fn process(&self, faults: &Faults) -> Result<()> {
        for step in 0..2 {
            let done = faults.point("work", step, async { Ok(()) }).await;
            self.failed.fetch_add(u64::from(done.is_err()), Ordering::SeqCst);
            done?;
        }
        Ok(())
    }

    async fn verdict(&self) -> Verdict {
        Verdict::default()
    }

    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

impl Drop for Demanding {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || *self.failed.get_mut() == 0, "nobody may fail here");
    }
}

#[tokio::test]
async fn a_world_that_panics_as_it_is_dropped_is_told_of_with_its_schedule() {
    let outcome = Schedules::of(Demanding::default).pairs(0).run().await;
    let [first, ..] = outcome.wrong.as_slice() else { panic!("{outcome}") };
    assert!(first.to_string().contains("nobody may fail here"), "{first}");
    assert!(outcome.wrong.iter().all(|wrong| wrong.schedule.first.mode != Mode::Pause), "{outcome}");
}

#[tokio::test]
async fn who_stands_still_twice_goes_on_twice() {
    let [first, second] = [0, 1].map(|at| Plan { at, mode: Mode::Pause });
    assert!(Schedules::of(Demanding::default).replay(Schedule::both(first, second)).await.is_right());
}
