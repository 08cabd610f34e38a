//! Records that come and go while a listing is read: what shows it, and what to do about it. The reasons are in
//! `docs/adr/0016-moving-listings.md`.

use super::pagination::{Claims, Counts};
use crate::defects::{Defect, on};
use crate::error::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What is known of a listing's movement so far. Records are told by their prints: hashes of their keys, or of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Drift {
    /// The prints of the last records, the newest one last.
    #[serde(skip_serializing_if = "is_default")]
    anchors: Vec<u64>,
    /// Records that have come before, with which the next page should begin.
    #[serde(skip_serializing_if = "is_default")]
    lead: u64,
    /// Records that the listing has got before the place where the read stands, less those that it has lost there.
    #[serde(skip_serializing_if = "is_default")]
    shift: i64,
    /// Some of them were new.
    #[serde(skip_serializing_if = "is_default")]
    gained: bool,
    /// Shifts that were noticed and made good.
    #[serde(skip_serializing_if = "is_default")]
    healed: u64,
    /// A page was not compared with the one before.
    #[serde(skip_serializing_if = "is_default")]
    unlinked: bool,
    /// Something has shown that the listing moves, and that it may have lost records to the read.
    #[serde(skip_serializing_if = "is_default")]
    seen: bool,
    /// Complete passes before this one.
    #[serde(skip_serializing_if = "is_default")]
    passes: u32,
    /// Records of this pass, and the hash of all of them in their order.
    #[serde(skip_serializing_if = "is_default")]
    pass: Pass,
    /// The pass before, if none of its records came twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Pass>,
    /// This pass has begun with all records of the one before, in the same order.
    #[serde(skip_serializing_if = "is_default")]
    agrees: bool,
    /// Records of one page came again on the next.
    #[serde(skip_serializing_if = "is_default")]
    repeats: bool,
    /// What the API claimed last, in this pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed: Option<Claims>,
    /// It has claimed different things in this pass.
    #[serde(skip_serializing_if = "is_default")]
    changed: bool,
    /// Records of the largest page, and whether a smaller one has followed.
    #[serde(skip_serializing_if = "is_default")]
    largest: u64,
    #[serde(skip_serializing_if = "is_default")]
    short: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pass {
    records: u64,
    chain: u64,
}

/// What to do at the end of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing shows that the listing has moved, or what moved is made good.
    Done,
    /// It moved: read it again.
    Again,
    /// It has moved in each of as many passes as there may be.
    GiveUp,
}

/// Where a page lies in the records that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// So many of its first records have come before.
    Behind(u64),
    /// Neither the last record that came nor one of those before it is there.
    Lost,
}

impl Drift {
    /// Records that have come before, with which the next page should begin.
    pub(super) fn lead(&self) -> u64 {
        self.lead
    }

    /// Where a page with these prints lies.
    pub(super) fn place(&self, prints: &[u64]) -> Place {
        let Some(newest) = self.anchors.last() else { return Place::Behind(0) };
        if on(Defect::DriftIsNotNoticed) {
            return Place::Behind(self.lead);
        }
        let lead = usize::try_from(self.lead).unwrap_or(usize::MAX);
        if lead == 0 {
            // What came before should not be there. A server that gives its last page for all behind it repeats it.
            return Place::Behind(self.run(prints));
        }
        if prints.get(lead - 1) == Some(newest) {
            return Place::Behind(self.lead);
        }
        // The newest one that is there, and only once: all behind it is new.
        for anchor in self.anchors.iter().rev() {
            let mut found = prints.iter().enumerate().filter(|(_, print)| *print == anchor);
            if let (Some((at, _)), None) = (found.next(), found.next()) {
                return Place::Behind(at as u64 + 1);
            }
        }
        Place::Lost
    }

    /// How many of the first records repeat the last ones that came, in the same order.
    fn run(&self, prints: &[u64]) -> u64 {
        let most = self.anchors.len();
        let fits = |n: &usize| {
            let last = self.anchors.get(most.saturating_sub(*n)..).unwrap_or_default();
            let known = last.len();
            let first = prints.get(n.saturating_sub(known)..*n).unwrap_or_default();
            known > 0 && last == first
        };
        // A page may begin further back than is remembered.
        let newest = self.anchors.last();
        let ends = prints.iter().enumerate().filter(|(_, print)| Some(*print) == newest).map(|(at, _)| at + 1);
        ends.rev().find(fits).unwrap_or_default() as u64
    }

    /// A page was found that begins with `skip` records of before.
    pub(super) fn took(&mut self, skip: u64) {
        if skip != self.lead {
            let moved = i64::try_from(skip).unwrap_or(i64::MAX) - i64::try_from(self.lead).unwrap_or(i64::MAX);
            self.shift = self.shift.saturating_add(moved);
            self.gained |= moved > 0;
            self.healed += 1;
        }
    }

    /// The place where the read stands in the listing as it is now, after `records` of it.
    pub(super) fn index(&self, records: u64) -> u64 {
        records.saturating_add_signed(self.shift)
    }

    /// New records stand before the place of the read, and come with the next one: the highest cursor value must not pass them.
    pub(super) fn has_gained(&self) -> bool {
        self.gained
    }

    /// The number of shifts that were made good.
    pub(super) fn healed(&self) -> u64 {
        self.healed
    }

    /// Shifts that were made good, and passes that were made because something had moved.
    pub(super) fn times_healed(&self) -> u64 {
        self.healed + if self.seen { u64::from(self.passes) } else { 0 }
    }

    /// Whether each page of this pass was found to follow the one before.
    pub(super) fn is_linked(&self) -> bool {
        !self.unlinked
    }

    /// How many records the read should have brought, where the API claims `total` in the listing as it is now.
    pub(super) fn records_of(&self, total: u64) -> u64 {
        total.saturating_add_signed(self.shift.saturating_neg())
    }

    /// The number of the pass, from 0.
    pub(super) fn passes(&self) -> u32 {
        self.passes
    }

    /// Whether something has shown that records may be missing, and no later passes have shown that none are.
    pub(super) fn is_open(&self) -> bool {
        self.seen && !self.agrees
    }

    /// Whether passes have shown that nothing is missing.
    pub(super) fn is_confirmed(&self) -> bool {
        self.agrees
    }

    /// A page with these prints, of which the first `skip` have come before, is a part of the pass.
    pub(super) fn page(&mut self, counts: Counts, prints: &[u64], skip: u64, claims: Claims) {
        let new = prints.get(usize::try_from(skip).unwrap_or(usize::MAX)..).unwrap_or_default();
        for print in new {
            self.pass.chain = xxh3_64_with_seed(&print.to_le_bytes(), self.pass.chain);
            self.pass.records += 1;
            self.compare();
        }
        let records = prints.len() as u64;
        self.unlinked |= self.lead == 0 && !self.anchors.is_empty() && !new.is_empty();
        if counts == Counts::Pages {
            let repeats = self.run(prints) > 0;
            self.repeats |= repeats;
            // A page that was not full, but others followed: records have gone from it, or from those before.
            self.seen |= repeats || (self.short && records > 0);
            self.short |= records < self.largest;
        }
        self.largest = self.largest.max(records);
        if let Some(before) = self.claimed.filter(|_| counts != Counts::Nothing) {
            // Records that are added push others to later pages, where they are seen to repeat. Records that go pull others past.
            self.seen |= counts == Counts::Pages && claims.is_less_than(before);
        }
        self.changed |= self.claimed.is_some_and(|before| before != claims);
        self.claimed = Some(claims);
        if !new.is_empty() {
            self.anchors.extend_from_slice(new);
            let excess = self.anchors.len().saturating_sub(MOST_ANCHORS);
            self.anchors.drain(..excess);
        }
    }

    fn compare(&mut self) {
        if let Some(previous) = self.previous.filter(|previous| previous.records == self.pass.records) {
            self.agrees = previous.chain == self.pass.chain;
        }
    }

    /// The next page should begin with `lead` records of before.
    pub(super) fn expect(&mut self, lead: u64) {
        self.lead = lead;
    }

    /// The pass has ended: with evidence that contradicts itself, if it is `in_conflict`. Two passes are wanted to agree in any
    /// case if `always`.
    pub(super) fn ended(&mut self, always: bool, in_conflict: bool) -> Next {
        if in_conflict {
            self.seen = true;
        } else if (self.agrees && !self.repeats) || !(always || self.seen) {
            return Next::Done;
        }
        self.agrees = false;
        if self.passes + 1 >= MOST_PASSES { Next::GiveUp } else { Next::Again }
    }

    /// Whether the API has claimed different totals in this pass: then a total that does not match is no contradiction yet.
    pub(super) fn claims_changed(&self) -> bool {
        self.changed
    }

    /// What another pass begins with.
    pub(super) fn again(&self) -> Self {
        let previous = Some(self.pass).filter(|_| !self.repeats);
        let agrees = previous.is_some_and(|pass| pass.records == 0);
        Self { healed: self.healed, seen: self.seen, passes: self.passes + 1, previous, agrees, ..Self::default() }
    }

    /// Records of the largest page so far.
    pub(super) fn largest(&self) -> u64 {
        self.largest
    }
}

/// The listing never held still.
pub(super) fn never_still(passes: u32) -> Error {
    Error::new(ErrorKind::Incomplete, "read partition", "the listing changes while it is read")
        .with("passes", passes + 1)
        .with_hint("ask the API for an order in which records do not move, or for pages by a key; or take it as it is")
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Prints that are remembered to find the place again.
const MOST_ANCHORS: usize = 16;
/// Times that a listing is read until two in a row agree.
const MOST_PASSES: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(prints: &[u64], lead: u64) -> Drift {
        let mut drift = Drift::default();
        drift.page(Counts::Records { overlap: 1 }, prints, 0, Claims::default());
        drift.expect(lead);
        drift
    }

    #[test]
    fn finds_the_place_behind_the_last_record_that_is_there() {
        let drift = after(&[1, 2, 3, 4], 1);
        for (page, place) in [
            (&[4, 5, 6][..], Place::Behind(1)),
            // Two were added before.
            (&[2, 3, 4, 5], Place::Behind(3)),
            // The last one has gone.
            (&[3, 5, 6], Place::Behind(1)),
            (&[9, 3, 5], Place::Behind(2)),
            // One was taken before.
            (&[5, 6], Place::Lost),
            (&[], Place::Lost),
            // Which of the two it is cannot be told.
            (&[7, 4, 8, 4], Place::Lost),
        ] {
            assert_eq!(drift.place(page), place, "{page:?}");
        }
    }

    #[test]
    fn a_page_that_should_be_new_is_so_unless_it_repeats_the_end_of_the_one_before() {
        let drift = after(&[1, 2, 3, 4], 0);
        for (page, place) in [
            (&[5, 6][..], 0),
            (&[4, 5], 1),
            (&[3, 4, 5], 2),
            (&[1, 2, 3, 4], 4),
            // Further back than is remembered.
            (&[0, 1, 2, 3, 4], 5),
            // The same value by chance.
            (&[7, 4, 8], 0),
            (&[3, 5], 0),
        ] {
            assert_eq!(drift.place(page), Place::Behind(place), "{page:?}");
        }
    }

    #[test]
    fn passes_agree_if_the_later_begins_with_all_of_the_earlier() {
        let pass = |drift: &mut Drift, pages: &[&[u64]]| {
            for page in pages {
                drift.page(Counts::Pages, page, 0, Claims::default());
            }
            drift.ended(true, false)
        };
        let second = |pages: &[&[u64]]| {
            let mut drift = Drift::default();
            assert_eq!(pass(&mut drift, &[&[1, 2], &[3]]), Next::Again);
            drift = drift.again();
            pass(&mut drift, pages)
        };
        assert_eq!(second(&[&[1, 2], &[3]]), Next::Done);
        assert_eq!(second(&[&[1, 2], &[3, 4], &[5]]), Next::Done, "what was added at the end is new");
        assert_eq!(second(&[&[1, 2], &[4]]), Next::Again);
        assert_eq!(second(&[&[1, 2]]), Next::Again);
        assert_eq!(second(&[&[0, 1], &[2, 3]]), Next::Again);
        assert_eq!(second(&[&[1, 2], &[3, 4], &[4, 5]]), Next::Again, "a pass with repeats is no witness");
        // A pass with repeats is no witness, neither first nor second.
        let mut drift = Drift::default();
        assert_eq!(pass(&mut drift, &[&[1, 2], &[2, 3]]), Next::Again);
        drift = drift.again();
        assert_eq!(pass(&mut drift, &[&[1, 2], &[2, 3]]), Next::Again);
        drift = drift.again();
        for _ in 2..MOST_PASSES - 1 {
            assert_eq!(pass(&mut drift, &[&[1, 2], &[2, 3]]), Next::Again);
            drift = drift.again();
        }
        assert_eq!(pass(&mut drift, &[&[1, 2], &[2, 3]]), Next::GiveUp);
    }

    #[test]
    fn evidence_of_records_that_may_be_missing() {
        let claims = |records| Claims { records, pages: None };
        let read = |counts, pages: &[(&[u64], Option<u64>)]| {
            let mut drift = Drift::default();
            for (page, total) in pages {
                drift.page(counts, page, 0, claims(*total));
            }
            drift.ended(false, false) == Next::Again
        };
        let (pages, nothing) = (Counts::Pages, Counts::Nothing);
        assert!(!read(pages, &[(&[1, 2], None), (&[3, 4], None), (&[5], None), (&[], None)]));
        assert!(read(pages, &[(&[1, 2], None), (&[2, 3], None)]), "a record came again");
        assert!(read(pages, &[(&[1, 2], None), (&[3], None), (&[4, 5], None)]), "a short page in the middle");
        assert!(read(pages, &[(&[1, 2], Some(4)), (&[3], Some(3))]), "the total has become less");
        assert!(!read(pages, &[(&[1, 2], Some(3)), (&[3, 4], Some(4))]), "more at the end is no loss");
        assert!(!read(nothing, &[(&[1, 2], Some(4)), (&[2, 3], Some(3))]), "tokens do not move");
    }

    #[test]
    fn the_place_is_counted_as_the_listing_is_now() {
        let mut drift = after(&[1, 2, 3, 4], 1);
        drift.took(3);
        assert_eq!((drift.index(4), drift.has_gained(), drift.healed()), (6, true, 1));
        let mut drift = after(&[1, 2, 3, 4], 2);
        drift.took(1);
        assert_eq!((drift.index(4), drift.has_gained(), drift.healed()), (3, false, 1));
        let mut drift = after(&[1, 2, 3, 4], 1);
        drift.took(1);
        assert_eq!((drift.index(4), drift.healed()), (4, 0));
    }
}
