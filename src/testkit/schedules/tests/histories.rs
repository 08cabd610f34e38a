//! Which processes a schedule has, in which order, and what is said of them.

use super::*;
use std::sync::MutexGuard;
use tokio::task::yield_now;

/// What a world does that is not a sink at all: processes of five steps, in a diary.
#[derive(Clone, Default)]
pub(super) struct Diary {
    pub(super) lines: Arc<Mutex<Vec<String>>>,
    /// At which step each process has died.
    pub(super) died: Arc<Mutex<Vec<u64>>>,
    pub(super) judge: Option<fn(&[u64]) -> Verdict>,
    pub(super) fails: Option<ErrorKind>,
    /// What the first one ends with, whatever it was told.
    pub(super) says: Option<ErrorKind>,
    /// Whether it takes the next step after one that has failed.
    pub(super) goes_on: bool,
    /// Whether it panics at a step that has failed.
    pub(super) panics: bool,
    /// Whether who works after another one has begun leaves what the next start cannot read.
    pub(super) breaks: bool,
    pub(super) seen: Option<fn() -> Verdict>,
}

impl Diary {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("no panic")
    }

    fn died(&self) -> MutexGuard<'_, Vec<u64>> {
        self.died.lock().expect("no panic")
    }

    fn begun(&self) -> usize {
        self.lines().iter().filter(|line| line.ends_with("begins")).count()
    }

    fn work(&self, number: usize) -> Result<()> {
        if self.breaks && self.begun() > number {
            self.lines().push(format!("{number} breaks"));
        }
        Ok(())
    }

    /// Worlds of which nothing outlives a history.
    pub(super) fn fresh(&self) -> Self {
        Self { lines: Arc::default(), died: Arc::default(), ..self.clone() }
    }
}

#[async_trait]
impl World for Diary {
    async fn process(&self, faults: &Faults) -> Result<()> {
        let number = self.begun() + 1;
        self.lines().push(format!("{number} begins"));
        if let Some(kind) = self.fails.filter(|_| number == 2) {
            return Err(Error::new(kind, "work", "it cannot"));
        }
        if self.lines().iter().any(|line| line.ends_with("breaks")) {
            return Err(Error::new(ErrorKind::Corrupt, "work", "it cannot read this"));
        }
        let says = self.says.filter(|_| number == 1).map(|kind| Error::new(kind, "work", "it says so"));
        for step in 0..5 {
            yield_now().await;
            if let Err(error) = faults.point("work", step, async { self.work(number) }).await {
                assert!(!self.panics, "step {step} went well always");
                self.lines().push(format!("{number} dies"));
                self.died().push(step);
                if !self.goes_on || faults.is_dead() {
                    return Err(says.unwrap_or(error));
                }
            }
        }
        self.lines().push(format!("{number} ends"));
        says.map_or(Ok(()), Err)
    }

    async fn verdict(&self) -> Verdict {
        self.judge.map(|judge| judge(&self.died())).unwrap_or_default()
    }

    async fn watch(&self) -> Verdict {
        let Some(seen) = self.seen else { return std::future::pending().await };
        while self.lines().len() < 3 {
            yield_now().await;
        }
        seen()
    }
}

pub(super) fn at(at: u64, mode: Mode) -> Plan {
    Plan { at, mode }
}

async fn told(schedule: Schedule) -> String {
    told_by(&Diary::default(), schedule).await
}

async fn told_by(diary: &Diary, schedule: Schedule) -> String {
    let verdict = Schedules::of(|| diary.clone()).replay(schedule).await;
    assert!(verdict.is_right(), "{schedule}: {verdict}");
    diary.lines().join(", ")
}

#[tokio::test]
async fn who_stands_still_goes_on_after_those_who_have_overtaken_it() {
    let (dies, stands) = (at(1, Mode::Before), at(2, Mode::Pause));
    assert_eq!(told(Schedule::single(dies)).await, "1 begins, 1 dies, 2 begins, 2 ends");
    // And then another one starts, once, whoever has stood still.
    let (pair, third, fourth) = (Schedule::pair, "3 begins, 3 ends", "4 begins, 4 ends");
    assert_eq!(told(Schedule::single(stands)).await, format!("1 begins, 2 begins, 2 ends, 1 ends, {third}"));
    assert_eq!(told(pair(dies, stands)).await, format!("1 begins, 1 dies, 2 begins, {third}, 2 ends, {fourth}"));
    assert_eq!(told(pair(stands, dies)).await, format!("1 begins, 2 begins, 2 dies, {third}, 1 ends, {fourth}"));
    assert_eq!(told(pair(stands, stands)).await, format!("1 begins, 2 begins, {third}, 2 ends, 1 ends, {fourth}"));
    let both = Schedule::both(at(1, Mode::Fail), at(2, Mode::Pause));
    let goes_on = Diary { goes_on: true, ..Diary::default() };
    assert_eq!(told_by(&goes_on, both).await, format!("1 begins, 1 dies, 2 begins, 2 ends, 1 ends, {third}"));
    let both = Schedule::both(at(1, Mode::Fail), at(2, Mode::Before));
    let goes_on = goes_on.fresh();
    assert_eq!(told_by(&goes_on, both).await, "1 begins, 1 dies, 1 dies, 2 begins, 2 ends");
}

#[tokio::test]
async fn what_makes_only_the_next_start_fail_is_found() {
    let diary = Diary { breaks: true, ..Diary::default() };
    let outcome = Schedules::of(|| diary.fresh()).pairs(0).run().await;
    let schedules: Vec<_> = outcome.wrong.iter().map(|wrong| wrong.schedule).collect();
    assert_eq!(schedules, [0, 1, 2, 3, 4].map(|step| Schedule::single(at(step, Mode::Pause))), "{outcome}");
    for wrong in &outcome.wrong {
        let told = "without faults, a last process ended with work: it cannot read this";
        assert_eq!((wrong.verdict.corrupt, wrong.verdict.wrong.as_slice()), (1, [told.to_owned()].as_slice()));
    }
}

#[tokio::test]
async fn who_was_overtaken_or_refused_may_say_so() {
    let says = async |mode, says| {
        let diary = Diary { says: Some(says), ..Diary::default() };
        Schedules::of(|| diary.fresh()).replay(Schedule::single(at(0, mode))).await.is_right()
    };
    for kind in [ErrorKind::Fenced, ErrorKind::Auth, ErrorKind::Cancelled] {
        let refused = Mode::Refuse(kind);
        assert!(says(refused, kind).await && says(refused, ErrorKind::Unavailable).await, "{kind}");
        assert!(!says(Mode::Fail, kind).await && !says(Mode::Refuse(ErrorKind::Config), kind).await, "{kind}");
        assert!(says(Mode::Before, kind).await, "{kind}: what one says that has died, nobody hears");
        assert_eq!(says(Mode::Pause, kind).await, kind == ErrorKind::Fenced, "{kind}");
    }
}

#[tokio::test]
async fn half_of_the_pairs_are_drawn_from_crashes_alone() {
    let run = async |modes: &[Mode]| Schedules::of(Diary::default).modes(modes.to_vec()).pairs(40).run().await;
    let outcome = run(&Mode::ANY).await;
    let (pairs, crashes) = (outcome.pairs, outcome.double_crashes);
    // Of the others, four of nine.
    assert!(pairs == 40 && (24..36).contains(&crashes), "{crashes} of {outcome}");
    assert!(outcome.proof("a diary").contains(&format!("schedules=40 double_crashes={crashes} unmet=0")), "{outcome}");
    assert_eq!(run(&[Mode::LostResponse, Mode::Fail]).await.double_crashes, 0);
    let outcome = run(&[Mode::Before, Mode::Pause]).await;
    assert_eq!((outcome.pairs, outcome.double_crashes), (40, 40), "{outcome}");
}

#[tokio::test]
async fn pairs_are_of_all_modes_and_each_is_run_once() {
    let run = async |modes: &[Mode]| Schedules::of(Diary::default).modes(modes.to_vec()).pairs(20).run().await;
    let outcome = run(&[Mode::Pause]).await;
    assert_eq!((outcome.modes["Pause"], outcome.pairs), (5, 20), "{outcome}");
    // Where nothing can be torn, to die before it is the same: 25 pairs are all that there are.
    let outcome = Schedules::of(Diary::default).modes([Mode::Before, Mode::Torn]).pairs(40).run().await;
    assert_eq!(outcome.modes.get("Torn"), None, "{outcome}");
    assert!(outcome.modes["Before"] == 5 && outcome.pairs <= 25, "{outcome}");
}

#[tokio::test]
async fn both_faults_of_a_pair_are_shrunk_and_it_is_told_of_once() {
    let judge = |died: &[u64]| match died {
        [first, second, ..] if *first >= 2 && *second >= 1 => Verdict { lost: 1, ..Verdict::default() },
        _ => Verdict::default(),
    };
    let diary = Diary { judge: Some(judge), ..Diary::default() };
    let outcome = Schedules::of(|| diary.fresh()).modes([Mode::Before]).pairs(12).run().await;
    let smallest = Schedule::pair(at(2, Mode::Before), at(1, Mode::Before));
    let schedules: Vec<_> = outcome.wrong.iter().map(|wrong| wrong.schedule).collect();
    assert_eq!((schedules, outcome.total.lost), (vec![smallest], 1), "{outcome}");
}

#[tokio::test]
async fn a_pair_that_shows_what_one_fault_shows_is_not_counted_again() {
    let judge = |died: &[u64]| match died {
        [first, ..] if *first >= 3 => Verdict { doubled: 1, ..Verdict::default() },
        _ => Verdict::default(),
    };
    let diary = Diary { judge: Some(judge), ..Diary::default() };
    let outcome = Schedules::of(|| diary.fresh()).modes([Mode::Before]).pairs(12).run().await;
    assert_eq!((outcome.wrong.len(), outcome.total.doubled, outcome.pairs), (2, 2, 12), "{outcome}");
    let proof = outcome.proof("a diary");
    let (single, pairs) = proof.split_once('\n').expect("two lines");
    assert_eq!(
        single,
        "proof suite=single of=\"a diary\" every=1 points=5 schedules=5 unmet=0 lost=0 doubled=2 corrupt=0 invented=0 partial=0 wrong=0 Before=5"
    );
    assert!(
        pairs.starts_with("proof suite=pairs of=\"a diary\" schedules=12 double_crashes=12 unmet=0 lost=0 doubled=0 "),
        "{pairs}"
    );
}

#[tokio::test]
async fn after_the_faults_a_process_ends_well_at_its_first_try() {
    for (kind, corrupt) in [(ErrorKind::Unavailable, 0), (ErrorKind::Corrupt, 1)] {
        let diary = Diary { fails: Some(kind), ..Diary::default() };
        let verdict = Schedules::of(|| diary.fresh()).replay(Schedule::single(at(0, Mode::Fail))).await;
        assert_eq!((verdict.corrupt, verdict.wrong.len()), (corrupt, 1), "{verdict}");
        assert!(verdict.to_string().contains("without faults, a process ended with"), "{verdict}");
    }
}

#[tokio::test]
async fn what_a_reader_has_seen_is_told_beside_what_is_there() {
    let judge = |_: &[u64]| Verdict { lost: 1, ..Verdict::default() };
    let diary = Diary { judge: Some(judge), seen: Some(|| Verdict::partial("half an epoch")), ..Diary::default() };
    let verdict = Schedules::of(|| diary.fresh()).replay(Schedule::single(at(2, Mode::Pause))).await;
    assert_eq!((verdict.lost, verdict.partial), (1, 1), "{verdict}");
}
