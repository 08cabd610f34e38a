use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// What one stage did with the records it got: `input + fanned_out = output + filtered + deduplicated + quarantined`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCounts {
    /// The stage's name.
    pub stage: String,
    /// Records that went in.
    pub input: u64,
    /// Records that came out.
    pub output: u64,
    /// Records dropped on purpose by a rule of the user.
    pub filtered: u64,
    /// Records dropped because they were there before.
    pub deduplicated: u64,
    /// Records refused, with a reason, into the quarantine.
    pub quarantined: u64,
    /// Records that came into being here (one in, several out).
    pub fanned_out: u64,
}

impl StageCounts {
    /// Whether every record is accounted for.
    pub fn balances(&self) -> bool {
        self.input.checked_add(self.fanned_out)
            == self
                .output
                .checked_add(self.filtered)
                .and_then(|n| n.checked_add(self.deduplicated))
                .and_then(|n| n.checked_add(self.quarantined))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.input += other.input;
        self.output += other.output;
        self.filtered += other.filtered;
        self.deduplicated += other.deduplicated;
        self.quarantined += other.quarantined;
        self.fanned_out += other.fanned_out;
    }
}

/// The counts of every hop of an epoch, or of a run: they must balance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochLedger {
    /// Records read from the landing (or from the source, where there is no landing), by the counts kept there.
    pub read: u64,
    /// Records of unfinished responses that were superseded: landed, and never loaded.
    pub superseded: u64,
    /// What each stage did, in order.
    pub stages: Vec<StageCounts>,
    /// Records handed to the sink's writer.
    pub written: u64,
    /// Records in the sink's staged output, as the sink counts them.
    pub staged: u64,
    /// Records in the quarantine's staged output.
    pub quarantined: u64,
}

impl EpochLedger {
    /// Checks that every record is accounted for at every hop (invariant I10 of `docs/semantics.md`).
    ///
    /// # Errors
    /// `Bug`, naming the hop that does not balance.
    pub fn check(&self) -> Result<()> {
        let differs = |hop: &str, left: u64, right: u64| {
            Error::new(ErrorKind::Bug, "balance ledger", "records are not accounted for")
                .with("hop", hop)
                .with("before", left)
                .with("after", right)
                .with_hint("a component drops or invents records without counting them; the epoch is not committed")
        };
        let mut before = ("read", self.read);
        for stage in &self.stages {
            if stage.input != before.1 {
                return Err(differs(&format!("{} -> {}", before.0, stage.stage), before.1, stage.input));
            }
            if !stage.balances() {
                let out = stage.output + stage.filtered + stage.deduplicated + stage.quarantined;
                return Err(differs(&stage.stage, stage.input + stage.fanned_out, out));
            }
            before = (&stage.stage, stage.output);
        }
        if self.written != before.1 {
            return Err(differs(&format!("{} -> written", before.0), before.1, self.written));
        }
        if self.staged != self.written {
            return Err(differs("written -> staged", self.written, self.staged));
        }
        let refused: u64 = self.stages.iter().map(|s| s.quarantined).sum();
        if refused != self.quarantined {
            return Err(differs("quarantine", refused, self.quarantined));
        }
        Ok(())
    }

    /// Adds the counts of another epoch of the same pipeline.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.superseded += other.superseded;
        self.written += other.written;
        self.staged += other.staged;
        self.quarantined += other.quarantined;
        for stage in &other.stages {
            match self.stages.iter_mut().find(|s| s.stage == stage.stage) {
                Some(mine) => mine.add(stage),
                None => self.stages.push(stage.clone()),
            }
        }
    }

    /// Records dropped as repeats, in all stages.
    pub fn deduplicated(&self) -> u64 {
        self.stages.iter().map(|s| s.deduplicated).sum()
    }

    /// Records dropped on purpose, in all stages.
    pub fn filtered(&self) -> u64 {
        self.stages.iter().map(|s| s.filtered).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> EpochLedger {
        let decode = StageCounts { stage: "decode".into(), input: 10, output: 9, quarantined: 1, ..Default::default() };
        let dedup = StageCounts { stage: "dedup".into(), input: 9, output: 7, deduplicated: 2, ..Default::default() };
        EpochLedger { read: 10, superseded: 0, stages: vec![decode, dedup], written: 7, staged: 7, quarantined: 1 }
    }

    #[test]
    fn accepts_counts_that_balance() {
        balanced().check().expect("balances");
    }

    #[test]
    fn refuses_a_record_lost_at_any_hop() {
        type Break = fn(&mut EpochLedger);
        let breaks: [(&str, Break); 6] = [
            ("read", |l| l.read += 1),
            ("decode", |l| l.stages[0].output -= 1),
            ("dedup", |l| l.stages[1].deduplicated -= 1),
            ("written", |l| l.written -= 1),
            ("staged", |l| l.staged += 1),
            ("quarantine", |l| l.quarantined = 0),
        ];
        for (hop, defect) in breaks {
            let mut ledger = balanced();
            defect(&mut ledger);
            let error = ledger.check().expect_err(hop);
            assert_eq!(error.kind(), ErrorKind::Bug, "{hop}");
        }
    }

    #[test]
    fn a_stage_that_does_not_balance_is_told_with_both_sums() {
        let mut ledger = balanced();
        ledger.stages[1] = StageCounts {
            stage: "dedup".into(),
            input: 9,
            fanned_out: 4,
            output: 5,
            filtered: 3,
            deduplicated: 2,
            quarantined: 1,
        };
        let said = ledger.check().expect_err("13 are not 11").to_string();
        assert!(said.contains("before=`13`") && said.contains("after=`11`"), "{said}");
    }
}
