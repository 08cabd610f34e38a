//! The decisions of production, and what the model puts in the place of one of them.

use crate::checkpoint::Record;
use crate::checkpoint::chain::decide::{self, Answer, Broken, Claim, Missing, Outcome, ReadBack, Slot, Standing};
use crate::landing::{removable, slowest};
use crate::model::{Incarnation, LandingPosition};
use crate::sink::{CommitDecision, CommitOutcome, Mark, MarkFit, decide_commit, mark_fit};

/// A rule that is taken out, or bent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    // Rule 1: prepare, then commit.
    /// An epoch is prepared before the one before is known to be committed.
    PreparedTooEarly,
    /// A new owner does not finish what was prepared.
    RecoverySkipped,
    // Rule 2: the sink's mark.
    /// A commit is applied without comparing marks.
    MarkNotCompared,
    /// Only the very epoch of the mark is recognised; an older one is applied again.
    MarkGoesBack,
    /// A commit is applied whatever the sink holds before.
    PreviousIgnored,
    /// What the sink holds is not compared with the chain when an owner starts.
    MarkAheadIgnored,
    // Rule 3: fences.
    /// A new owner takes the generation of the old one.
    FenceNotAbove,
    /// Of two owners of one generation, the later one steps over the first.
    EqualGenerationWins,
    /// A newer owner's record is stepped over.
    NewerGenerationStepsAside,
    /// An older owner's record shuts a new owner out.
    OlderGenerationWins,
    /// A fence does not say where the newest data record is.
    FenceForgetsData,
    // Rule 4: the boundary.
    /// After a create the boundary is not read.
    BoundaryNotReRead,
    /// The boundary that was read before the create is believed.
    BoundaryReadBefore,
    /// A record at the boundary counts.
    BoundaryCounts,
    /// A leftover in the place of a fence is stepped over.
    LeftoverSteppedOver,
    /// Records are deleted before the boundary has moved.
    DeletedBeforeBoundary,
    /// Of two collectors, the slower one sets the boundary back.
    BoundaryGoesBack,
    /// The newest data record is deleted.
    NewestDataCollected,
    /// Everything before the newest record is deleted, fence or not.
    CollectedThroughFences,
    // Rule 5: doubt.
    /// `Exists` is taken for the own record.
    ExistsIsMine,
    /// `Exists` is taken for another's record, unread.
    ExistsIsLost,
    /// No answer is taken for success.
    DoubtIsMine,
    /// No answer is taken for failure.
    DoubtIsFailure,
    /// A refusal is believed after an earlier try without an answer.
    DoubtForgotten,
    /// That the tries are used up is taken for failure.
    UnknownIsFailure,
    /// Other bytes under the number are taken for the own ones.
    OtherIsMine,
    // Rule 8: damage.
    /// What was collected while it was looked at is taken for damage.
    CollectedIsDamage,
    /// A leftover before the first record that was read is taken for damage.
    LeftoverIsDamage,
    // The landing.
    /// What loads need is not asked for.
    LoadsIgnored,
    /// A load that has not published yet does not count.
    UnpublishedIgnored,
    /// What the fastest load needs is kept.
    FastestLoadCounts,
    /// What a recovery of positions needs is not kept.
    BaseIgnored,
    /// A load publishes what it is about to commit.
    PublishedTooEarly,
}

impl Mutation {
    pub(super) const ALL: [Self; 33] = [
        Self::PreparedTooEarly,
        Self::RecoverySkipped,
        Self::MarkNotCompared,
        Self::MarkGoesBack,
        Self::PreviousIgnored,
        Self::MarkAheadIgnored,
        Self::FenceNotAbove,
        Self::EqualGenerationWins,
        Self::NewerGenerationStepsAside,
        Self::OlderGenerationWins,
        Self::FenceForgetsData,
        Self::BoundaryNotReRead,
        Self::BoundaryReadBefore,
        Self::BoundaryCounts,
        Self::LeftoverSteppedOver,
        Self::DeletedBeforeBoundary,
        Self::BoundaryGoesBack,
        Self::NewestDataCollected,
        Self::CollectedThroughFences,
        Self::ExistsIsMine,
        Self::ExistsIsLost,
        Self::DoubtIsMine,
        Self::DoubtIsFailure,
        Self::DoubtForgotten,
        Self::UnknownIsFailure,
        Self::OtherIsMine,
        Self::CollectedIsDamage,
        Self::LeftoverIsDamage,
        Self::LoadsIgnored,
        Self::UnpublishedIgnored,
        Self::FastestLoadCounts,
        Self::BaseIgnored,
        Self::PublishedTooEarly,
    ];
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules(pub(super) Option<Mutation>);

use Mutation as M;

impl Rules {
    pub(super) fn without(self, mutation: Mutation) -> bool {
        self.0 == Some(mutation)
    }

    pub(super) fn settle(self, answer: Answer, read_back: ReadBack, doubted: bool, left: u32) -> Outcome {
        let outcome = decide::settle(answer, read_back, doubted, left);
        match self.0 {
            Some(M::ExistsIsMine) if answer == Answer::Exists => Outcome::Mine,
            Some(M::ExistsIsLost) if answer == Answer::Exists => Outcome::Lost,
            Some(M::DoubtIsMine) if answer == Answer::Doubt => Outcome::Mine,
            Some(M::DoubtIsFailure) if answer == Answer::Doubt => Outcome::Refused,
            Some(M::DoubtForgotten) => decide::settle(answer, read_back, false, left),
            Some(M::UnknownIsFailure) if outcome == Outcome::Unknown => Outcome::Refused,
            Some(M::OtherIsMine) if read_back == ReadBack::Other => Outcome::Mine,
            _ => outcome,
        }
    }

    /// `boundary` was read after record `number` was created, `began` long before.
    pub(super) fn created(self, number: u64, began: u64, boundary: u64) -> Standing {
        match self.0 {
            Some(M::BoundaryNotReRead) => Standing::Holds,
            Some(M::BoundaryReadBefore) => decide::standing(number, began),
            Some(M::BoundaryCounts) => decide::standing(number + 1, boundary),
            _ => decide::standing(number, boundary),
        }
    }

    pub(super) fn taken(self, number: u64, boundary: u64) -> Standing {
        if self.without(M::LeftoverSteppedOver) { Standing::Holds } else { decide::standing(number, boundary) }
    }

    pub(super) fn next_generation(self, head: Option<&Record>) -> u64 {
        let next = decide::next_generation(head).expect("generations are left");
        if self.without(M::FenceNotAbove) && head.is_some() { next - 1 } else { next }
    }

    pub(super) fn slot(self, mine: &Record, theirs: &Record) -> Slot {
        let claim = |record: &Record| Claim { generation: record.generation, nonce: record.nonce.clone() };
        let slot = decide::slot(&claim(mine), &claim(theirs));
        match self.0 {
            Some(M::EqualGenerationWins) if slot == Slot::Lost && theirs.generation == mine.generation => {
                Slot::TakeAsHead
            }
            Some(M::NewerGenerationStepsAside) if theirs.generation > mine.generation => Slot::TakeAsHead,
            Some(M::OlderGenerationWins) if slot == Slot::TakeAsHead => Slot::Lost,
            _ => slot,
        }
    }

    pub(super) fn follows(self, head: Option<(&Record, &str)>, next: &Record) -> Result<(), Broken> {
        decide::follows(head, next)
    }

    pub(super) fn missing(self, number: u64, boundary: u64) -> Missing {
        if self.without(M::CollectedIsDamage) { Missing::Hole } else { decide::missing(number, boundary) }
    }

    pub(super) fn broken_link(self, number: u64, began: u64, boundary: u64) -> Missing {
        if self.without(M::LeftoverIsDamage) { Missing::Hole } else { decide::broken_link(number, began, boundary) }
    }

    pub(super) fn limit(self, through: u64, newest_data: Option<u64>, head: u64, boundary: u64) -> u64 {
        let limit = decide::collection_limit(through, newest_data, boundary);
        match self.0 {
            Some(M::NewestDataCollected) => through.min(newest_data.unwrap_or(0)).max(boundary),
            Some(M::CollectedThroughFences) => through.min(head.saturating_sub(1)).max(boundary),
            _ => limit,
        }
    }

    pub(super) fn commit(self, held: Option<&Mark>, wanted: &Mark, previous: Option<u64>) -> CommitDecision {
        let decision = decide_commit(held, wanted, previous);
        match (self.0, &decision) {
            (Some(M::MarkNotCompared), _) => CommitDecision::Apply,
            (Some(M::MarkGoesBack), _) if held.is_some_and(|held| held.epoch > wanted.epoch) => CommitDecision::Apply,
            (Some(M::PreviousIgnored), CommitDecision::Answer(CommitOutcome::Gap { .. })) => CommitDecision::Apply,
            _ => decision,
        }
    }

    pub(super) fn fits(self, held: Option<&Mark>, newest: Option<(&Incarnation, u64)>, may: &[Option<u64>]) -> bool {
        let fit = mark_fit(held, newest, may);
        fit == MarkFit::Fits || self.without(M::MarkAheadIgnored) && fit != MarkFit::Behind
    }

    /// How far a landing may be collected. `published`: what each load that is known has published.
    pub(super) fn through(self, published: impl Iterator<Item = u64> + Clone, base: u64) -> u64 {
        let position = |segment| LandingPosition { segment, record: 0 };
        let each = published.clone().map(|p| (p > 0).then(|| Some(position(p))));
        match self.0 {
            Some(M::LoadsIgnored) => base.saturating_sub(1),
            Some(M::UnpublishedIgnored) => removable(slowest(each.filter(Option::is_some)), base),
            Some(M::FastestLoadCounts) => removable(slowest(each.max()), base),
            Some(M::BaseIgnored) => removable(slowest(each), u64::MAX),
            _ => removable(slowest(each), base),
        }
    }
}
