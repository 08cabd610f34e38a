//! What [`Stage`] and [`StageState`](crate::stage::StageState) promise. [`stage_conformance!`](crate::stage_conformance) makes a test of each check.

use super::told::given;
use crate::model::{Item, Reject};
use crate::stage::{Output, Stage};
use bytes::Bytes;
use std::fmt::Debug;

/// A stage that is checked, and records for it.
pub trait StageTrial {
    /// The stage.
    type Stage: Stage;

    /// The stage as a run makes it: without memory.
    fn stage(&self) -> Self::Stage;

    /// The same records cut into items in at least two ways. Bad and repeated ones, and items without records, belong to them.
    fn cuts(&self) -> Vec<Vec<<Self::Stage as Stage>::In>>;

    /// The records of an item that the stage gave, each as text: two are the same if their texts are.
    fn records(&self, item: &<Self::Stage as Stage>::Out) -> Vec<String>;
}

/// Makes a `#[test]` of every check of a stage. The expression gives a [`StageTrial`]. A second call needs a module of its own.
///
/// ```
/// use landfall::model::Rows;
/// use landfall::stage::{FnStage, Output, Stage, from_fn};
/// use landfall::testkit::conformance::StageTrial;
///
/// struct Odd;
///
/// type Filter = fn(Rows<u64>, &mut Output<Rows<u64>>) -> landfall::Result<()>;
///
/// impl StageTrial for Odd {
///     type Stage = FnStage<Rows<u64>, Rows<u64>, Filter>;
///     fn stage(&self) -> Self::Stage {
///         from_fn("odd", |rows, out| {
///             let (odd, even): (Vec<u64>, Vec<u64>) = rows.0.into_iter().partition(|n| n % 2 == 1);
///             out.filtered(even.len() as u64);
///             out.emit(Rows(odd));
///             Ok(())
///         })
///     }
///     fn cuts(&self) -> Vec<Vec<Rows<u64>>> {
///         vec![vec![Rows(vec![1, 2, 3, 3])], vec![Rows(vec![1]), Rows(vec![]), Rows(vec![2, 3]), Rows(vec![3])]]
///     }
///     fn records(&self, item: &Rows<u64>) -> Vec<String> {
///         item.0.iter().map(u64::to_string).collect()
///     }
/// }
///
/// landfall::stage_conformance!(Odd);
/// ```
#[macro_export]
macro_rules! stage_conformance {
    ($open:expr) => {
        $crate::stage_conformance! { $open;
            g1_the_same_items_give_the_same_output
            g1_it_does_not_matter_how_records_are_cut_into_items
            g2_every_record_is_accounted_for
            g3_copies_give_what_one_gives
            g4_a_restored_stage_goes_on_where_the_other_stood
            g4_deltas_hold_what_a_base_holds
            g4_the_same_history_gives_the_same_bytes
            g4_what_was_restored_is_forgotten_before
            its_configuration_is_stable
        }
    };
    ($open:expr; $($check:ident)+) => {
        $(
            #[test]
            fn $check() {
                let trial = $open;
                let _told = $crate::testkit::conformance::told("Stage", stringify!($check));
                $crate::testkit::conformance::stage::$check(&trial);
            }
        )+
    };
}

/// What came of some items.
#[derive(Clone, Debug, Default, PartialEq)]
struct Came {
    records: Vec<String>,
    rejects: Vec<(&'static str, String, Bytes)>,
    /// Filtered, deduplicated, fanned out.
    counts: [u64; 3],
}

impl Came {
    fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.rejects.extend(other.rejects);
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
    }
}

fn apply<T: StageTrial>(trial: &T, stage: &mut T::Stage, item: <T::Stage as Stage>::In) -> Came {
    let mut out = Output::new();
    stage.apply(item, &mut out).expect("a bad record is rejected; it is no error");
    let (items, rejects, counts) = out.into_parts();
    let rejected = |reject: Reject| (reject.code, reject.reason, reject.raw);
    let records = items.iter().flat_map(|item| {
        let records = trial.records(item);
        assert_eq!(records.len() as u64, item.records(), "an item counts other records than it has");
        records
    });
    Came { records: records.collect(), rejects: rejects.into_iter().map(rejected).collect(), counts }
}

fn apply_all<T: StageTrial>(
    trial: &T,
    stage: &mut T::Stage,
    items: impl IntoIterator<Item = <T::Stage as Stage>::In>,
) -> Came {
    let mut came = Came::default();
    items.into_iter().for_each(|item| came.add(apply(trial, stage, item)));
    came
}

fn parts<T: StageTrial>(trial: &T) -> Vec<Vec<<T::Stage as Stage>::In>> {
    let cuts = trial.cuts();
    given(cuts.len() > 1, "one way to cut the records shows nothing: give at least two");
    let records = |cut: &Vec<<T::Stage as Stage>::In>| cut.iter().map(Item::records).sum::<u64>();
    let first = cuts.first().map(records).unwrap_or_default();
    given(first > 0, "the ways to cut hold no records");
    given(cuts.iter().all(|cut| records(cut) == first), "the ways to cut hold different records");
    cuts
}

/// Guarantee 1, deterministic.
pub fn g1_the_same_items_give_the_same_output<T: StageTrial>(trial: &T) {
    for (once, again) in parts(trial).into_iter().zip(parts(trial)) {
        let once = apply_all(trial, &mut trial.stage(), once);
        assert_eq!(once, apply_all(trial, &mut trial.stage(), again));
    }
}

/// Guarantee 1, deterministic.
pub fn g1_it_does_not_matter_how_records_are_cut_into_items<T: StageTrial>(trial: &T) {
    let mut came = parts(trial).into_iter().map(|cut| apply_all(trial, &mut trial.stage(), cut));
    let first = came.next().unwrap_or_default();
    for (number, other) in came.enumerate() {
        assert_eq!(first, other, "the first way to cut and way {}", number + 2);
    }
}

/// Guarantee 2, accounted.
pub fn g2_every_record_is_accounted_for<T: StageTrial>(trial: &T) {
    for cut in parts(trial) {
        let mut stage = trial.stage();
        for item in cut {
            let taken = item.records();
            let Came { records, rejects, counts: [filtered, deduplicated, fanned_out] } =
                apply(trial, &mut stage, item);
            let (given, rejected) = (records.len() as u64, rejects.len() as u64);
            assert_eq!(
                taken + fanned_out,
                given + rejected + filtered + deduplicated,
                "taken {taken} and fanned out {fanned_out}, but given {given}, rejected {rejected}, filtered {filtered}, deduplicated {deduplicated}"
            );
        }
    }
}

/// Guarantee 3, independent copies.
pub fn g3_copies_give_what_one_gives<T: StageTrial>(trial: &T) {
    for (alone, shared) in parts(trial).into_iter().zip(parts(trial)) {
        let original = trial.stage();
        let Some(first) = original.fork() else { return };
        let mut copies = [first, original.fork().expect("it gave a copy before"), original];
        let mut came = Came::default();
        for (number, item) in shared.into_iter().enumerate() {
            let copy = copies.get_mut(number % 3).expect("one of three");
            came.add(apply(trial, copy, item));
        }
        assert_eq!(came, apply_all(trial, &mut trial.stage(), alone), "copies side by side give something else");
    }
}

/// Runs `check` for each way to cut and each place in it: a stage that has worked up to there, what it would give next, and
/// the items that come next.
fn at_each_place<T: StageTrial>(
    trial: &T,
    check: impl Fn(&mut T::Stage, Vec<Bytes>, Came, Vec<<T::Stage as Stage>::In>),
) {
    for (number, length) in parts(trial).iter().map(Vec::len).enumerate() {
        for place in 0..=length {
            let items = || parts(trial).swap_remove(number);
            let mut stage = trial.stage();
            if stage.state().is_none() {
                return;
            }
            let mut deltas = Vec::new();
            for item in items().into_iter().take(place) {
                apply(trial, &mut stage, item);
                deltas.extend(delta(&mut stage));
            }
            let mut whole = trial.stage();
            let mut next = items();
            let rest = next.split_off(place);
            apply_all(trial, &mut whole, next);
            let expected = apply_all(trial, &mut whole, items().split_off(place));
            check(&mut stage, deltas, expected, rest);
        }
    }
}

fn delta<S: Stage>(stage: &mut S) -> Option<Bytes> {
    stage.state().expect("it has a memory").delta().expect("delta")
}

fn base<S: Stage>(stage: &mut S) -> Bytes {
    stage.state().expect("it has a memory").base().expect("base")
}

fn restore<S: Stage>(stage: &mut S, parts: Vec<Bytes>) {
    stage.state().expect("it has a memory").restore(parts).expect("restore");
}

/// Guarantee 4, state.
pub fn g4_a_restored_stage_goes_on_where_the_other_stood<T: StageTrial>(trial: &T) {
    at_each_place(trial, |stage, _, expected, rest| {
        let mut restored = trial.stage();
        restore(&mut restored, vec![base(stage)]);
        assert_eq!(apply_all(trial, &mut restored, rest), expected, "restored from a base");
    });
}

/// Guarantee 4, state.
pub fn g4_deltas_hold_what_a_base_holds<T: StageTrial>(trial: &T) {
    at_each_place(trial, |stage, deltas, expected, rest| {
        assert_eq!(delta(stage), None, "a delta of nothing");
        if deltas.is_empty() {
            return;
        }
        let mut restored = trial.stage();
        restore(&mut restored, deltas);
        assert_eq!(delta(&mut restored), None, "what was restored is learned anew");
        assert_eq!(apply_all(trial, &mut restored, rest), expected, "restored from deltas");
    });
}

/// Guarantee 4, state.
pub fn g4_the_same_history_gives_the_same_bytes<T: StageTrial>(trial: &T) {
    let histories = || {
        let of = |cut: Vec<<T::Stage as Stage>::In>| {
            let mut stage = trial.stage();
            stage.state()?;
            let mut deltas = Vec::new();
            for item in cut {
                apply(trial, &mut stage, item);
                deltas.push(delta(&mut stage));
            }
            Some((deltas, base(&mut stage)))
        };
        parts(trial).into_iter().map(of).collect::<Vec<_>>()
    };
    assert!(histories() == histories(), "two stages that saw the same have other bytes");
}

/// Guarantee 4, state.
pub fn g4_what_was_restored_is_forgotten_before<T: StageTrial>(trial: &T) {
    at_each_place(trial, |stage, _, expected, rest| {
        let mut other = trial.stage();
        // It has seen everything, and must remember none of it.
        apply_all(trial, &mut other, parts(trial).swap_remove(0));
        restore(&mut other, vec![base(stage)]);
        assert_eq!(apply_all(trial, &mut other, rest), expected, "what was known before is known still");
    });
}

/// Configuration is what a run is compared with the one before by.
pub fn its_configuration_is_stable<T: StageTrial>(trial: &T) {
    let (one, other) = (trial.stage(), trial.stage());
    assert!(!one.name().is_empty() && one.name() == other.name(), "a stage has one name");
    let config = |stage: &T::Stage| stage.config().expect("the configuration is valid");
    assert_eq!(config(&one), config(&other));
    if let Some(copy) = one.fork() {
        assert_eq!((one.name(), config(&one)), (copy.name(), config(&copy)), "a copy is another stage");
    }
}
