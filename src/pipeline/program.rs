//! The stages of a shard: a leading part whose copies run side by side, and the rest in the order of the landing.

use super::erased::{AnyStage, BoxItem};
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::model::{LoadCounts, Reject, StageCounts};

/// What came out for some pages, and what became of each of their records.
#[derive(Default)]
pub(super) struct Outcome {
    /// Each with the number of the page that it comes of.
    pub items: Vec<(usize, BoxItem)>,
    /// What the stages made of the records of each page.
    pub pages: Vec<LoadCounts>,
    pub rejects: Vec<(usize, Reject)>,
    pub counts: Vec<StageCounts>,
}

/// Some stages in a row. `first` is the number of its first stage in the pipeline.
pub(super) struct Program {
    pub stages: Vec<Box<dyn AnyStage>>,
    first: usize,
}

impl Program {
    pub(super) fn new(stages: Vec<Box<dyn AnyStage>>) -> Self {
        Self { stages, first: 0 }
    }

    /// Copies of the leading stages that can run side by side, and how many they are.
    pub(super) fn fork_leading(&self) -> Self {
        Self { stages: self.stages.iter().map_while(|s| s.fork()).collect(), first: self.first }
    }

    /// A copy of a forked program.
    pub(super) fn fork(&self) -> Result<Self> {
        let copy = self.fork_leading();
        if copy.stages.len() != self.stages.len() {
            return Err(Error::bug("fork stages", "a stage gave a copy that cannot be copied"));
        }
        Ok(copy)
    }

    /// Leaves only the stages from number `from` on.
    pub(super) fn split_off(&mut self, from: usize) -> Self {
        Self { stages: self.stages.split_off(from.min(self.stages.len())), first: self.first + from }
    }

    /// Runs `outcome`'s items through all stages, one item after the other.
    pub(super) fn run(&mut self, mut outcome: Outcome) -> Result<Outcome> {
        for (i, stage) in self.stages.iter_mut().enumerate() {
            let number = self.first + i;
            let mut counts = StageCounts { stage: stage.name().to_owned(), ..StageCounts::default() };
            let mut given = Vec::with_capacity(outcome.items.len());
            for (page, item) in outcome.items {
                let input = item.records();
                let applied = stage.apply(item)?;
                let [filtered, deduplicated, fanned_out] = applied.counts;
                let output = applied.items.iter().map(|i| i.records()).sum();
                let quarantined = applied.rejects.len() as u64;
                let stage = String::new();
                let one = StageCounts { stage, input, output, filtered, deduplicated, quarantined, fanned_out };
                if !one.balances() && !on(Defect::LedgerIsNotChecked) {
                    return Err(Error::bug("apply stage", "records are not accounted for")
                        .with("stage", &counts.stage)
                        .with("input", input)
                        .with("output", output)
                        .with_hint("count each record that does not come out as filtered, deduplicated or rejected"));
                }
                counts.add(&one);
                if let Some(of) = outcome.pages.get_mut(page) {
                    of.add(&LoadCounts { filtered, deduplicated, quarantined, fanned_out, ..LoadCounts::default() });
                }
                given.extend(applied.items.into_iter().map(|item| (page, item)));
                outcome.rejects.extend(applied.rejects.into_iter().map(|r| (number, r)));
            }
            outcome.items = given;
            outcome.counts.push(counts);
        }
        Ok(outcome)
    }
}
