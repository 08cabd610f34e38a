//! What counts as a schedule: a history whose faults happened.

use super::*;
use crate::store::{ObjectPath, Store};

/// Processes of so many steps.
struct Steps(u64);

#[async_trait]
impl World for Steps {
    async fn process(&self, faults: &Faults) -> Result<()> {
        for step in 0..self.0 {
            faults.point("work", step, async { Ok(()) }).await?;
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

/// Worlds of which the first, the one that is traced, takes other steps than the others.
fn worlds(first: u64, others: u64) -> impl Fn() -> Steps + Send + Sync {
    let made = AtomicU64::new(0);
    move || Steps(if made.fetch_add(1, Ordering::SeqCst) == 0 { first } else { others })
}

async fn singles(first: u64, others: u64) -> Outcome {
    Schedules::of(worlds(first, others)).modes([Mode::Before]).pairs(0).run().await
}

fn before(at: u64) -> Plan {
    Plan { at, mode: Mode::Before }
}

#[tokio::test]
async fn a_fault_that_no_process_comes_to_is_no_schedule() {
    let outcome = singles(20, 19).await;
    assert_eq!((outcome.schedules, outcome.modes["Before"]), (19, 19), "{outcome}");
    assert_eq!(outcome.unmet, [Schedule::single(before(19))]);
    assert!(outcome.proof("steps").contains(" points=20 schedules=19 unmet=1 lost=0 "), "{}", outcome.proof("steps"));

    let outcome = Schedules::of(worlds(5, 4)).modes([Mode::Before]).every(u64::MAX).pairs(12).run().await;
    assert!(outcome.unmet.iter().any(|pair| pair.first == before(4) && pair.second.is_some()), "{outcome}");
    let pairs = outcome.pairs;
    assert!(outcome.proof("steps").contains(&format!("schedules={pairs} double_crashes={pairs} unmet=")), "{outcome}");
}

#[tokio::test]
#[should_panic(expected = "of 20 schedules, 1 did not meet their faults, 0 may; the first: Before at 19")]
async fn in_a_world_of_one_history_all_faults_are_met() {
    singles(20, 19).await.assert_right();
}

#[tokio::test]
async fn in_a_world_that_varies_a_tenth_may_not_be_met() {
    let outcome = Schedules::of(worlds(20, 18)).modes([Mode::Before]).pairs(0).varies().run().await;
    outcome.assert_right();
    assert_eq!(outcome.unmet.len(), 2, "{outcome}");
}

#[tokio::test]
async fn in_a_world_that_varies_what_was_not_met_is_tried_again() {
    // One in four takes all of the steps, so that three more tries are enough, and two are not.
    let made = AtomicU64::new(0);
    let worlds = || Steps(if made.fetch_add(1, Ordering::SeqCst) % 4 == 0 { 20 } else { 2 });
    let schedules = Schedules::of(worlds).modes([Mode::Before]).pairs(0).varies();
    let outcome = schedules.run().await;
    assert_eq!((outcome.schedules, outcome.unmet.len()), (20, 0), "{outcome}");
}

#[tokio::test]
#[should_panic(expected = "of 20 schedules, 3 did not meet their faults, 2 may")]
async fn in_a_world_that_varies_no_more_than_a_tenth_is_not_met() {
    Schedules::of(worlds(20, 17)).modes([Mode::Before]).pairs(0).varies().run().await.assert_right();
}

#[tokio::test]
#[should_panic(expected = "the world passes its faults to nothing")]
async fn a_world_without_operations_is_refused() {
    singles(0, 0).await;
}

#[tokio::test]
#[should_panic(expected = "no schedule was run")]
async fn nothing_is_not_right() {
    Schedules::of(worlds(5, 5)).modes([Mode::Exists]).pairs(9).run().await.assert_right();
}

#[tokio::test]
async fn a_replay_tells_that_its_fault_was_not_met() {
    let schedules = Schedules::of(worlds(5, 5));
    assert!(schedules.replay(Schedule::pair(before(4), before(4))).await.is_right());
    let fails = |at| Plan { at, mode: Mode::Fail };
    for schedule in [
        Schedule::single(before(5)),
        Schedule::pair(before(4), before(5)),
        // The process ends with the first one; a second one has to come later than the first.
        Schedule::both(fails(3), fails(4)),
        Schedule::both(fails(3), fails(3)),
    ] {
        let verdict = schedules.replay(schedule).await;
        assert_eq!(verdict.wrong, [format!("a fault was not met: {schedule}")]);
    }
}

/// Objects that each process creates, puts, reads and deletes.
struct Objects(Store, AtomicU64);

fn path(name: &str) -> ObjectPath {
    ObjectPath::parse(name).expect("a valid name")
}

#[async_trait]
impl World for Objects {
    async fn process(&self, faults: &Faults) -> Result<()> {
        let (store, number) = (faults.store(&self.0), self.1.fetch_add(1, Ordering::SeqCst));
        // The first has put its own after the second one, and nobody but the next start sees that.
        if number > 1 && self.0.get(&path("put"), None).await?.is_some_and(|found| found == "0") {
            return Err(Error::new(ErrorKind::Corrupt, "start", "an old one is there"));
        }
        store.create(&path("created"), "x".into()).await?;
        store.put(&path("put"), number.to_string().into()).await?;
        store.get(&path("put"), None).await?;
        store.delete(&path("deleted")).await
    }

    async fn verdict(&self) -> Verdict {
        self.0.get(&path("put"), None).await.expect("readable").expect("it was put");
        Verdict::default()
    }

    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

#[tokio::test]
async fn each_mode_is_tried_where_it_can_happen() {
    let world = || Objects(Store::memory(), AtomicU64::new(0));
    let outcome = Schedules::of(world).modes(Mode::OBJECT_STORE).pairs(0).run().await;
    let tried: Vec<_> = outcome.modes.iter().map(|(mode, n)| (mode.as_str(), *n)).collect();
    let late = format!("Late({})", u32::MAX);
    assert_eq!(
        tried,
        [
            ("AfterLostResponse", 3),
            ("Before", 4),
            ("Conflict", 1),
            ("Exists", 1),
            ("Fail", 4),
            ("Late(2)", 3),
            (late.as_str(), 3),
            ("LostResponse", 3),
            ("Pause", 4),
            ("Refuse(Ambiguous)", 4),
            ("Refuse(Auth)", 4),
            ("Refuse(Config)", 4),
            ("Torn", 2),
        ]
    );
    assert!(outcome.unmet.is_empty(), "{outcome}");
    // Who stands still before its put, and a put that is on its way, have their effect when all others have ended.
    let wrong: Vec<_> =
        outcome.wrong.iter().map(|wrong| (wrong.schedule.first.mode, wrong.schedule.first.at)).collect();
    assert_eq!(wrong, [(Mode::Pause, 0), (Mode::Pause, 1), (Mode::Late(2), 1), (Mode::Late(u32::MAX), 1)]);
    for wrong in &outcome.wrong {
        assert_eq!(wrong.verdict.wrong, ["without faults, a last process ended with start: an old one is there"]);
    }
}

/// What is done once and for all.
#[derive(Default)]
struct Once(AtomicU64);

#[async_trait]
impl World for Once {
    async fn process(&self, faults: &Faults) -> Result<()> {
        if self.0.load(Ordering::SeqCst) == 0 {
            let work = async {
                self.0.store(1, Ordering::SeqCst);
                Ok(())
            };
            faults.point("work", "all", work).await?;
        }
        Ok(())
    }

    async fn verdict(&self) -> Verdict {
        Verdict::of([1], [self.0.load(Ordering::SeqCst)])
    }

    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

#[tokio::test]
async fn where_nothing_is_left_to_do_there_is_no_second_fault() {
    let outcome = Schedules::of(Once::default).modes([Mode::LostResponse]).pairs(5).run().await;
    assert_eq!((outcome.schedules, outcome.pairs, outcome.unmet.len()), (1, 0, 0), "{outcome}");
}

/// Who finds that it is done changes nothing. Each start is counted.
struct Starts(Store, AtomicU64);

#[async_trait]
impl World for Starts {
    async fn process(&self, faults: &Faults) -> Result<()> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let (store, path) = (faults.store(&self.0), ObjectPath::parse("done")?);
        store.get(&path, None).await?;
        store.create(&path, "done".into()).await?;
        store.get(&path, None).await?;
        Ok(())
    }

    async fn verdict(&self) -> Verdict {
        let starts = self.1.load(Ordering::SeqCst);
        if starts > 2 { Verdict::wrong(format!("{starts} processes")) } else { Verdict::default() }
    }

    async fn watch(&self) -> Verdict {
        std::future::pending().await
    }
}

#[tokio::test]
async fn nobody_starts_after_one_that_has_changed_nothing() {
    let world = || Starts(Store::memory(), AtomicU64::new(0));
    let outcome = Schedules::of(world).modes([Mode::Pause]).pairs(0).run().await;
    assert_eq!((outcome.schedules, outcome.wrong.len()), (3, 0), "{outcome}");
}
