use super::{Coverage, EpochLedger, PartitionId, Window};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a load has made of the records of a partition, or of a window of it: all that were ever landed and are committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadCounts {
    /// Records that were taken out of the landing and worked on.
    #[serde(skip_serializing_if = "is_zero")]
    pub read: u64,
    /// Records of responses that never became whole: landed, and passed over.
    #[serde(skip_serializing_if = "is_zero")]
    pub superseded: u64,
    /// Records in the destination, as they were handed to the sink.
    #[serde(skip_serializing_if = "is_zero")]
    pub loaded: u64,
    /// Records dropped on purpose by a rule of the user.
    #[serde(skip_serializing_if = "is_zero")]
    pub filtered: u64,
    /// Records dropped because they were there before.
    #[serde(skip_serializing_if = "is_zero")]
    pub deduplicated: u64,
    /// Records refused, with a reason, into the quarantine.
    #[serde(skip_serializing_if = "is_zero")]
    pub quarantined: u64,
    /// Records that came into being in a stage (one in, several out).
    #[serde(skip_serializing_if = "is_zero")]
    pub fanned_out: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl LoadCounts {
    /// Records that were landed, as far as the load has come.
    pub fn landed(&self) -> u64 {
        self.read + self.superseded
    }

    /// Whether every record is accounted for: `read + fanned_out = loaded + filtered + deduplicated + quarantined`.
    pub fn balances(&self) -> bool {
        let after = [self.loaded, self.filtered, self.deduplicated, self.quarantined];
        self.read.checked_add(self.fanned_out) == after.into_iter().try_fold(0, u64::checked_add)
    }

    /// Adds what came besides.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.superseded += other.superseded;
        self.loaded += other.loaded;
        self.filtered += other.filtered;
        self.deduplicated += other.deduplicated;
        self.quarantined += other.quarantined;
        self.fanned_out += other.fanned_out;
    }

    /// Whether these are the sums of a ledger.
    pub fn agree_with(&self, ledger: &EpochLedger) -> bool {
        let fanned_out: u64 = ledger.stages.iter().map(|stage| stage.fanned_out).sum();
        let sums = Self {
            read: ledger.read,
            superseded: ledger.superseded,
            loaded: ledger.written,
            filtered: ledger.filtered(),
            deduplicated: ledger.deduplicated(),
            quarantined: ledger.quarantined,
            fanned_out,
        };
        *self == sums
    }
}

impl fmt::Display for LoadCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, superseded, loaded, filtered, deduplicated, quarantined, fanned_out } = self;
        write!(f, "{read} read = {loaded} loaded + {deduplicated} repeated + {filtered} filtered")?;
        write!(f, " + {quarantined} quarantined")?;
        if *fanned_out > 0 {
            write!(f, " - {fanned_out} fanned out")?;
        }
        if *superseded > 0 {
            write!(f, "; {superseded} superseded")?;
        }
        Ok(())
    }
}

/// Everything that is known of a partition, or of a window of it: what its newest read brought, and what became of all records
/// that were ever landed of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Account {
    /// The partition.
    pub partition: PartitionId,
    /// The window of it; `None` if it is the whole partition.
    pub window: Option<Window>,
    /// What its newest read brought and why it ended, with the API's claim and the content hash; `None` if nothing was said
    /// of it yet, such as while the first read goes on.
    pub coverage: Option<Coverage>,
    /// What the load has made of its records.
    pub load: LoadCounts,
}

impl Account {
    /// The account of a window of `partition`, or of all of it.
    pub fn new(partition: PartitionId, window: Option<Window>, coverage: Option<Coverage>, load: LoadCounts) -> Self {
        Self { partition, window, coverage, load }
    }

    /// Records of the newest read that are landed and not loaded yet, at least: the next run of the load takes them up.
    pub fn not_loaded(&self) -> u64 {
        let landed = self.coverage.as_ref().map_or(0, |coverage| coverage.tally.records);
        landed.saturating_sub(self.load.landed())
    }

    /// Why something is, or may be, missing of it in the destination; `None` if it is complete and every record is accounted
    /// for.
    pub fn missing(&self) -> Option<String> {
        if !self.load.balances() {
            return Some(format!("records are not accounted for: {}", self.load));
        }
        let Some(coverage) = &self.coverage else { return Some("no read of it has ended yet".to_owned()) };
        let not_loaded = || match self.not_loaded() {
            0 => None,
            n => Some(format!("{n} records are landed and not loaded yet")),
        };
        coverage.missing().or_else(not_loaded)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}", self.partition)?;
        if let Some(window) = &self.window {
            write!(f, ", {window}")?;
        }
        if let Some(coverage) = &self.coverage {
            write!(f, ": ")?;
            if let Some(claimed) = coverage.claimed {
                write!(f, "{claimed} claimed, ")?;
            }
            write!(f, "{} came", coverage.tally.records)?;
            if let Some(content) = &coverage.tally.content {
                write!(f, " ({content})")?;
            }
            write!(f, ", {}", coverage.reason)?;
        }
        write!(f, "; {}", self.load)?;
        match self.missing() {
            Some(why) => write!(f, "; missing: {why}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Proof, StopReason, Tally};

    fn counts() -> LoadCounts {
        LoadCounts { read: 10, superseded: 3, loaded: 6, filtered: 1, deduplicated: 2, quarantined: 2, fanned_out: 1 }
    }

    #[test]
    fn a_record_that_is_not_counted_anywhere_is_noticed() {
        assert!(counts().balances() && LoadCounts::default().balances());
        for broken in [
            LoadCounts { read: 11, ..counts() },
            LoadCounts { loaded: 5, ..counts() },
            LoadCounts { filtered: 0, ..counts() },
            LoadCounts { deduplicated: 1, ..counts() },
            LoadCounts { quarantined: 1, ..counts() },
            LoadCounts { fanned_out: 0, ..counts() },
            LoadCounts { loaded: u64::MAX, ..counts() },
        ] {
            assert!(!broken.balances(), "{broken:?}");
        }
    }

    #[test]
    fn is_missing_until_it_is_read_loaded_and_accounted_for() {
        let came = |records| {
            let tally = Tally { pages: 1, records, content: None };
            Coverage::of("p".into(), StopReason::Exhausted(Proof::NoNextPage)).tally(tally)
        };
        let account = |coverage, load| Account::new("p".into(), None, coverage, load);
        assert_eq!(account(Some(came(13)), counts()).missing(), None);
        assert_eq!(account(Some(came(2)), counts()).missing(), None, "earlier reads count too");
        let late = account(Some(came(15)), counts());
        assert_eq!((late.not_loaded(), late.missing().is_some()), (2, true));
        assert!(account(None, counts()).missing().is_some());
        assert!(account(Some(came(13)), LoadCounts { loaded: 7, ..counts() }).missing().is_some());
        assert!(account(Some(came(13).claimed(14)), counts()).missing().is_some());
        let text = account(Some(came(15)), counts()).to_string();
        assert!(text.contains("10 read = 6 loaded + 2 repeated + 1 filtered + 2 quarantined - 1 fanned out"), "{text}");
    }
}
