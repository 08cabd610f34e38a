use crate::error::Result;
use crate::model::Rows;
use crate::source::ComponentConfig;
use crate::stage::{Output, Stage, StageState};
use crate::testkit::conformance::{StageTrial, stage};
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a stage that drops repeated numbers does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    GivesWhatNobodyElseGives,
    LooksWithinItemsOnly,
    LosesCount,
    ForksItsMemory,
    KeepsNothing,
    KeepsHalf,
    LearnsWhatWasRestored,
    NamesItsBytes,
    RemembersWhatWasBefore,
    ConfiguresByChance,
}

static MADE: AtomicU64 = AtomicU64::new(0);

#[derive(Clone)]
struct Distinct {
    defect: Defect,
    made: u64,
    known: BTreeSet<u64>,
    pending: Vec<u64>,
}

impl Stage for Distinct {
    type In = Rows<u64>;
    type Out = Rows<u64>;

    fn name(&self) -> &str {
        "distinct"
    }

    fn config(&self) -> Result<ComponentConfig> {
        let by_chance = if self.defect == Defect::ConfiguresByChance { self.made } else { 0 };
        Ok(ComponentConfig::none().with_settings(json!(by_chance)))
    }

    fn fork(&self) -> Option<Self> {
        (self.defect == Defect::ForksItsMemory).then(|| self.clone())
    }

    fn state(&mut self) -> Option<&mut dyn StageState> {
        Some(self)
    }

    fn apply(&mut self, item: Rows<u64>, out: &mut Output<Rows<u64>>) -> Result<()> {
        if self.defect == Defect::LooksWithinItemsOnly {
            self.known.clear();
        }
        let taken = item.0.len();
        let mut new: Vec<u64> = item.0.into_iter().filter(|n| self.known.insert(*n)).collect();
        self.pending.extend(&new);
        if self.defect != Defect::LosesCount {
            out.deduplicated((taken - new.len()) as u64);
        }
        if self.defect == Defect::GivesWhatNobodyElseGives {
            new.iter_mut().for_each(|n| *n += 100 * self.made);
        }
        out.emit(Rows(new));
        Ok(())
    }
}

impl StageState for Distinct {
    fn delta(&mut self) -> Result<Option<Bytes>> {
        let pending = std::mem::take(&mut self.pending);
        Ok((!pending.is_empty()).then(|| self.bytes(pending)))
    }

    fn base(&mut self) -> Result<Bytes> {
        self.pending.clear();
        Ok(self.bytes(self.known.iter().copied().collect()))
    }

    fn restore(&mut self, parts: Vec<Bytes>) -> Result<()> {
        if self.defect != Defect::RemembersWhatWasBefore {
            self.known.clear();
        }
        self.pending.clear();
        for part in parts {
            let numbers: Vec<u64> =
                part.chunks_exact(8).map(|n| n.iter().fold(0, |all, b| all << 8 | u64::from(*b))).collect();
            match self.defect {
                Defect::KeepsNothing => {}
                Defect::KeepsHalf => self.known = numbers.into_iter().collect(),
                _ => self.known.extend(numbers.into_iter().filter(|n| *n < 1_000_000)),
            }
        }
        if self.defect == Defect::LearnsWhatWasRestored {
            self.pending.extend(&self.known);
        }
        Ok(())
    }
}

impl Distinct {
    fn bytes(&self, mut numbers: Vec<u64>) -> Bytes {
        if self.defect == Defect::NamesItsBytes {
            numbers.push(1_000_000 + self.made);
        }
        numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
    }
}

struct Trial(Defect);

impl StageTrial for Trial {
    type Stage = Distinct;

    fn stage(&self) -> Distinct {
        let made = MADE.fetch_add(1, Ordering::SeqCst);
        Distinct { defect: self.0, made, known: BTreeSet::new(), pending: Vec::new() }
    }

    fn cuts(&self) -> Vec<Vec<Rows<u64>>> {
        let cut = |lengths: &[usize]| {
            let mut rest = [1, 2, 1, 3, 2, 4, 1].as_slice();
            let take = |length: &usize| {
                let (taken, left) = rest.split_at(*length);
                rest = left;
                Rows(taken.to_vec())
            };
            lengths.iter().map(take).collect()
        };
        vec![cut(&[7]), cut(&[1; 7]), cut(&[2, 0, 3, 2])]
    }

    fn records(&self, item: &Rows<u64>) -> Vec<String> {
        item.0.iter().map(u64::to_string).collect()
    }
}

macro_rules! run {
    ($check:ident, $defect:expr) => {
        async { stage::$check(&Trial($defect)) }
    };
}

caught! { run:
    g1_the_same_items_give_the_same_output by GivesWhatNobodyElseGives;
    g1_it_does_not_matter_how_records_are_cut_into_items by LooksWithinItemsOnly;
    g2_every_record_is_accounted_for by LosesCount;
    g3_copies_give_what_one_gives by ForksItsMemory;
    g4_a_restored_stage_goes_on_where_the_other_stood by KeepsNothing;
    g4_deltas_hold_what_a_base_holds by KeepsHalf, LearnsWhatWasRestored;
    g4_the_same_history_gives_the_same_bytes by NamesItsBytes;
    g4_what_was_restored_is_forgotten_before by RemembersWhatWasBefore;
    its_configuration_is_stable by ConfiguresByChance;
}
