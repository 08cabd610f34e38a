//! The rules of the protocol as pure functions: what was observed goes in, a decision comes out. Nothing here does I/O, so
//! the same code runs in production, in tests that lose and delay every answer, and in a model checker.

use crate::checkpoint::{Record, RecordKind};
use crate::defects::{Defect, on};
use std::ops::RangeInclusive;

/// What a store answered to a create-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The record is written.
    New,
    /// A record of that number was there: another's, or an own earlier try's. Or nothing was written at all.
    Exists,
    /// No answer, or one that says nothing: the write may have happened or may still happen.
    Doubt,
    /// The store says that nothing happened.
    Refused {
        /// The same request may succeed later.
        transient: bool,
    },
}

/// What reading back showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadBack {
    /// No record of that number.
    Absent,
    /// The very bytes that were to be written. They hold the writer's nonce, so nobody else can have written them.
    Same,
    /// A record with other bytes.
    Other,
    /// It could not be read.
    Failed,
}

/// What came of a create-if-absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The record is there, and this writer wrote it.
    Mine,
    /// The number is taken by another record.
    Lost,
    /// Open: try again with the same bytes.
    Retry,
    /// Nothing was written, and trying again does not help (or was tried often enough).
    Refused,
    /// Open, and tried often enough: stop and recover; never go on, never clean up.
    Unknown,
}

/// Rule 5, every conditional put can be ambiguous: only `New` is believed; after any other answer the bytes decide.
///
/// `doubted`: an earlier try of the same bytes may have happened. `tries_left`: how often it may be tried again.
pub fn settle(answer: Answer, read_back: ReadBack, doubted: bool, tries_left: u32) -> Outcome {
    match (answer, read_back) {
        (Answer::Exists, _) if on(Defect::ExistsIsTakenForOwn) => Outcome::Mine,
        (Answer::Exists, _) if on(Defect::ExistsIsTakenForLost) => Outcome::Lost,
        (Answer::Doubt, _) if on(Defect::LostAnswerIsFailure) => Outcome::Refused,
        (Answer::New, _) | (_, ReadBack::Same) => Outcome::Mine,
        (_, ReadBack::Other) => Outcome::Lost,
        (Answer::Refused { transient }, _) if !doubted => {
            if transient && tries_left > 0 {
                Outcome::Retry
            } else {
                Outcome::Refused
            }
        }
        (Answer::Refused { transient: false }, _) => Outcome::Unknown,
        (Answer::Exists | Answer::Doubt | Answer::Refused { .. }, ReadBack::Absent | ReadBack::Failed) => {
            if tries_left > 0 { Outcome::Retry } else { Outcome::Unknown }
        }
    }
}

/// Rule 5: whether a record may exist, or come to exist, after this answer, however many refusals follow it.
pub fn may_have_happened(answer: Answer) -> bool {
    !matches!(answer, Answer::Refused { .. })
}

/// Who writes, or wrote, a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The owner's generation.
    pub generation: u64,
    /// The owner's nonce.
    pub nonce: String,
}

/// What a taken number means to the one who wanted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The writer's own record.
    Mine,
    /// An older owner was quicker: its record is the new head, and the next number is tried.
    TakeAsHead,
    /// A newer owner, or one of the same generation, was quicker: the chain is lost.
    Lost,
}

/// Rule 3, fencing is in the data path: whoever fails to create the next number has lost, except that a new owner may
/// step over the last records of an older one.
pub fn slot(mine: &Claim, theirs: &Claim) -> Slot {
    if mine == theirs {
        Slot::Mine
    } else if theirs.generation < mine.generation || on(Defect::NewerOwnerIsSteppedOver) {
        Slot::TakeAsHead
    } else {
        Slot::Lost
    }
}

/// Whether a record that was created, or read, counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is part of the chain.
    Holds,
    /// It lies in a place that collection has emptied, or will: the chain went on without whoever created it there.
    Lost,
}

/// Rule 4, collection cannot un-fence: `boundary` was read after record `number` was created or read.
pub fn standing(number: u64, boundary: u64) -> Standing {
    if number <= boundary { Standing::Lost } else { Standing::Holds }
}

/// Why a record is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// It was collected since the boundary was read last: look again.
    Collected,
    /// It should be there: damage (rule 8).
    Hole,
}

/// Rule 8, damage halts: `boundary` was read after record `number`, which should be there, was found missing.
pub fn missing(number: u64, boundary: u64) -> Missing {
    if number <= boundary { Missing::Collected } else { Missing::Hole }
}

/// Rule 8: record `number` does not follow from the one before. If that one was collected since the walk began, it may have
/// been a leftover in its place. `began` is the boundary at the beginning of the walk, `boundary` was read now.
pub fn broken_link(number: u64, began: u64, boundary: u64) -> Missing {
    let moved = boundary > began && !on(Defect::LeftoversAreDamage);
    if moved { missing(number.saturating_sub(1), boundary) } else { Missing::Hole }
}

/// Rule 8: `boundary` has passed the newest data record that the head names. That is so once a newer one was written, so the
/// head has been collected too, or it has a `successor`.
pub fn passed_data(head: u64, boundary: u64, successor: bool) -> Missing {
    if successor { Missing::Collected } else { missing(head, boundary) }
}

/// Where to begin the walk to the end of the chain: the highest number that the hint names above the boundary, else the
/// first number above the boundary. If the hint is wrong and that record is not there, the hint is dropped: call again
/// without it.
pub fn begin(boundary: u64, hint: &[u64]) -> u64 {
    hint.iter().copied().filter(|n| *n > boundary).max().unwrap_or_else(|| boundary.saturating_add(1))
}

/// Rule 8: the numbers above the boundary and below `top`, which exists, that the hint does not name. Each must be looked
/// for, because a hint may miss records but a chain may not. `hint` is in ascending order.
pub fn unlisted(boundary: u64, hint: &[u64], top: u64) -> Vec<RangeInclusive<u64>> {
    let mut gaps = Vec::new();
    if on(Defect::HolesAreSteppedOver) {
        return gaps;
    }
    let mut next = boundary.saturating_add(1);
    for number in hint.iter().copied().chain([top]).filter(|n| *n <= top) {
        if number > next {
            gaps.push(next..=number - 1);
        }
        next = next.max(number.saturating_add(1));
    }
    gaps
}

/// What an end that was found means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Nothing was ever written.
    Empty,
    /// Record number `boundary + 1` should be there, because collection always leaves the newest data record.
    Hollow,
}

/// Rule 8: nothing was found above the boundary.
pub fn nothing_above(boundary: u64) -> End {
    if boundary == 0 { End::Empty } else { End::Hollow }
}

/// How a record fails to follow the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Its number is not the next.
    Number,
    /// It names another parent.
    Parent,
    /// It belongs to another life of the chain.
    Incarnation,
    /// Its generation goes back, or changes without a fence, or has a second owner.
    Generation,
    /// It names another newest data record.
    NewestData,
}

impl Broken {
    /// What is wrong, for an error's message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "the record's number does not follow the one before",
            Self::Parent => "the record does not name the one before as its parent",
            Self::Incarnation => "the record belongs to another life of the chain than the one before",
            Self::Generation => "the record's owner does not follow from the one before",
            Self::NewestData => "the record names another newest data record than the one before",
        }
    }
}

/// What the record after a head says of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub number: u64,
    /// The digest of the head.
    pub parent: Option<String>,
    /// The newest data record before it.
    pub newest_data: Option<u64>,
}

/// The place after `head` (the record and its digest), or the first one; `None` if there are no numbers left.
pub fn place_after(head: Option<(&Record, &str)>) -> Option<Place> {
    let Some((head, digest)) = head else { return Some(Place { number: 1, parent: None, newest_data: None }) };
    let number = head.number.checked_add(1)?;
    Some(Place { number, parent: Some(digest.to_owned()), newest_data: head.newest_data_with_self() })
}

/// Rule 3: the generation of whoever takes the chain over after `head`, strictly above it; `None` if there are none left.
pub fn next_generation(head: Option<&Record>) -> Option<u64> {
    head.map_or(0, |head| head.generation).checked_add(1)
}

/// Rules 3 and 8: whether `next` follows `head` (the record and its digest), or starts a chain if there is none. A chain
/// starts with a fence; only a fence changes the generation, and always upwards; within a generation there is one nonce.
///
/// # Errors
/// What is broken.
pub fn follows(head: Option<(&Record, &str)>, next: &Record) -> Result<(), Broken> {
    let Some(place) = place_after(head) else { return Err(Broken::Number) };
    let owner_follows = match (head, next.kind) {
        (None, kind) => kind == RecordKind::Fence,
        (Some((head, _)), RecordKind::Fence) => next.generation > head.generation,
        (Some((head, _)), RecordKind::Data) => next.generation == head.generation && next.nonce == head.nonce,
    };
    if next.number != place.number {
        Err(Broken::Number)
    } else if next.parent != place.parent {
        Err(Broken::Parent)
    } else if head.is_some_and(|(head, _)| head.incarnation != next.incarnation) {
        Err(Broken::Incarnation)
    } else if !owner_follows {
        Err(Broken::Generation)
    } else if next.newest_data != place.newest_data {
        Err(Broken::NewestData)
    } else {
        Ok(())
    }
}

/// Rule 4: how far collection may go. Never to the newest data record, which may not be committed yet, nor beyond it,
/// however many fences are stacked above it; never back.
pub fn collection_limit(through: u64, newest_data: Option<u64>, boundary: u64) -> u64 {
    let before_newest = newest_data.map_or(0, |n| n.saturating_sub(1));
    let limit = if on(Defect::UncommittedIsCollected) { through } else { through.min(before_newest) };
    limit.max(boundary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, Timestamp};
    use bytes::Bytes;

    #[test]
    fn rule_5_an_ambiguous_create_is_decided_by_the_bytes() {
        use {Answer::*, Outcome as O, ReadBack::*};
        let busy = Refused { transient: true };
        let denied = Refused { transient: false };
        for (answer, read_back, doubted, tries_left, expected) in [
            (New, Failed, false, 3, O::Mine),
            (Exists, Same, false, 0, O::Mine),
            (Doubt, Same, false, 0, O::Mine),
            (busy, Same, true, 0, O::Mine),
            (denied, Same, true, 0, O::Mine),
            (Exists, Other, true, 3, O::Lost),
            (Doubt, Other, false, 3, O::Lost),
            (busy, Other, false, 3, O::Lost),
            (Exists, Absent, false, 1, O::Retry),
            (Exists, Absent, false, 0, O::Unknown),
            (Exists, Failed, false, 1, O::Retry),
            (Doubt, Absent, false, 1, O::Retry),
            (Doubt, Absent, false, 0, O::Unknown),
            (Doubt, Failed, false, 0, O::Unknown),
            (busy, Absent, false, 1, O::Retry),
            (busy, Absent, false, 0, O::Refused),
            (busy, Absent, true, 1, O::Retry),
            (busy, Absent, true, 0, O::Unknown),
            (denied, Absent, false, 3, O::Refused),
            (denied, Failed, false, 3, O::Refused),
            (denied, Absent, true, 3, O::Unknown),
        ] {
            let got = settle(answer, read_back, doubted, tries_left);
            assert_eq!(got, expected, "{answer:?} {read_back:?} doubted={doubted} left={tries_left}");
        }
    }

    #[test]
    fn rule_3_only_an_older_owner_is_stepped_over() {
        let claim = |generation, nonce: &str| Claim { generation, nonce: nonce.to_owned() };
        let mine = claim(4, "me");
        for (theirs, expected) in [
            (claim(4, "me"), Slot::Mine),
            (claim(3, "old"), Slot::TakeAsHead),
            (claim(3, "me"), Slot::TakeAsHead),
            (claim(4, "twin"), Slot::Lost),
            (claim(5, "new"), Slot::Lost),
        ] {
            assert_eq!(slot(&mine, &theirs), expected, "{theirs:?}");
        }
    }

    #[test]
    fn rule_4_a_number_at_or_below_the_boundary_is_lost() {
        assert_eq!(standing(5, 4), Standing::Holds);
        assert_eq!(standing(5, 5), Standing::Lost);
        assert_eq!(standing(5, 6), Standing::Lost);
    }

    #[test]
    fn rule_5_only_a_refusal_says_that_nothing_happened() {
        assert!(
            may_have_happened(Answer::New) && may_have_happened(Answer::Exists) && may_have_happened(Answer::Doubt)
        );
        assert!(!may_have_happened(Answer::Refused { transient: true }));
        assert!(!may_have_happened(Answer::Refused { transient: false }));
    }

    #[test]
    fn rule_8_what_does_not_fit_is_damage_unless_collection_explains_it() {
        assert_eq!(broken_link(5, 2, 4), Missing::Collected);
        assert_eq!(broken_link(5, 2, 3), Missing::Hole, "the one before lies above");
        assert_eq!(broken_link(5, 4, 4), Missing::Hole, "nothing was collected meanwhile");
        assert_eq!(passed_data(6, 5, true), Missing::Collected);
        assert_eq!(passed_data(6, 6, false), Missing::Collected);
        assert_eq!(passed_data(6, 5, false), Missing::Hole);
    }

    #[test]
    fn rule_4_collection_stops_before_the_newest_data_record_and_never_goes_back() {
        for (through, newest_data, boundary, expected) in [
            (9, Some(5), 0, 4),
            (3, Some(5), 0, 3),
            (3, Some(5), 4, 4),
            (9, None, 0, 0),
            (9, Some(1), 0, 0),
            (u64::MAX, Some(u64::MAX), 0, u64::MAX - 1),
        ] {
            let got = collection_limit(through, newest_data, boundary);
            assert_eq!(got, expected, "through {through}, newest {newest_data:?}, boundary {boundary}");
        }
    }

    #[test]
    fn rule_8_what_is_missing_above_the_boundary_is_a_hole() {
        assert_eq!(missing(5, 5), Missing::Collected);
        assert_eq!(missing(5, 4), Missing::Hole);
        assert_eq!(nothing_above(0), End::Empty);
        assert_eq!(nothing_above(3), End::Hollow);
    }

    #[test]
    fn the_walk_begins_at_the_highest_hint_above_the_boundary() {
        assert_eq!(begin(0, &[]), 1);
        assert_eq!(begin(7, &[]), 8);
        assert_eq!(begin(7, &[3, 7]), 8);
        assert_eq!(begin(7, &[3, 8, 12]), 12);
        assert_eq!(begin(u64::MAX, &[]), u64::MAX);
    }

    #[test]
    fn rule_8_numbers_that_the_hint_misses_are_looked_for() {
        assert_eq!(unlisted(0, &[1, 2, 3], 3), []);
        assert_eq!(unlisted(0, &[3], 3), [1..=2]);
        assert_eq!(unlisted(4, &[1, 2, 7, 9], 9), [5..=6, 8..=8]);
        assert_eq!(unlisted(0, &[1, 9], 2), [], "a hint above the end is looked at elsewhere");
        assert_eq!(unlisted(0, &[u64::MAX], u64::MAX), [1..=u64::MAX - 1]);
    }

    #[test]
    fn rules_3_and_8_a_record_must_follow_from_the_one_before() {
        let head = Record {
            number: 4,
            kind: RecordKind::Data,
            incarnation: Incarnation("life".to_owned()),
            generation: 2,
            nonce: "a".to_owned(),
            parent: Some("p3".to_owned()),
            newest_data: Some(2),
            written_at: Timestamp::from_micros(0),
            payload: Bytes::new(),
        };
        let data = Record { number: 5, parent: Some("p4".to_owned()), newest_data: Some(4), ..head.clone() };
        let fence = Record { kind: RecordKind::Fence, generation: 9, nonce: "b".to_owned(), ..data.clone() };
        let check = |next: &Record| follows(Some((&head, "p4")), next);
        assert_eq!(check(&data), Ok(()));
        assert_eq!(check(&fence), Ok(()));
        for (next, broken) in [
            (Record { number: 6, ..data.clone() }, Broken::Number),
            (Record { parent: Some("else".to_owned()), ..data.clone() }, Broken::Parent),
            (Record { parent: None, ..data.clone() }, Broken::Parent),
            (Record { incarnation: Incarnation("other".to_owned()), ..fence.clone() }, Broken::Incarnation),
            (Record { generation: 3, ..data.clone() }, Broken::Generation),
            (Record { nonce: "b".to_owned(), ..data.clone() }, Broken::Generation),
            (Record { generation: 2, ..fence.clone() }, Broken::Generation),
            (Record { generation: 1, ..fence.clone() }, Broken::Generation),
            (Record { newest_data: Some(2), ..data.clone() }, Broken::NewestData),
            (Record { newest_data: None, ..fence.clone() }, Broken::NewestData),
        ] {
            assert_eq!(check(&next), Err(broken), "{next:?}");
        }
        let first = Record { number: 1, parent: None, newest_data: None, ..fence };
        assert_eq!(follows(None, &first), Ok(()));
        assert_eq!(follows(None, &Record { kind: RecordKind::Data, ..first }), Err(Broken::Generation));
    }
}
