use crate::testkit::Verdict;
use std::collections::{BTreeMap, BTreeSet};

/// What an API has served, and what it holds: the table that a destination is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    pub(super) rows: Vec<ServedRow>,
    pub(super) held: BTreeMap<u64, u64>,
}

/// A version of a record in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ServedRow {
    /// The record.
    pub id: u64,
    /// How often it had changed.
    pub version: u64,
    /// The number of the request, from 0.
    pub page: u64,
    /// Whether its answer was sent whole.
    pub whole: bool,
}

impl Served {
    /// Everything that was sent, in its order.
    pub fn rows(&self) -> &[ServedRow] {
        &self.rows
    }

    /// The version of each record that the API holds now.
    pub fn held(&self) -> &BTreeMap<u64, u64> {
        &self.held
    }

    /// Compares a destination, id and version of each of its rows, with this: what the API holds must be there once; nothing may be there twice,
    /// and nothing that was never sent. Versions that it does not hold any more may be there, if they were sent.
    pub fn verdict(&self, found: impl IntoIterator<Item = (u64, u64)>) -> Verdict {
        let mut counts = BTreeMap::<(u64, u64), u64>::new();
        found.into_iter().for_each(|row| *counts.entry(row).or_default() += 1);
        let sent: BTreeSet<(u64, u64)> = self.rows.iter().map(|row| (row.id, row.version)).collect();
        let mut verdict = Verdict {
            lost: self.held.iter().filter(|(id, version)| !counts.contains_key(&(**id, **version))).count() as u64,
            ..Verdict::default()
        };
        for (row, times) in counts {
            if sent.contains(&row) {
                verdict.doubled += times - 1;
            } else {
                verdict.invented += times;
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_tells_what_is_lost_doubled_and_invented() {
        let row = |id, version| ServedRow { id, version, page: 0, whole: true };
        let held = [(1, 0), (2, 1), (3, 0)].into_iter().collect();
        let served = Served { rows: vec![row(1, 0), row(2, 0), row(2, 1), row(3, 0)], held };
        assert!(served.verdict([(1, 0), (2, 0), (2, 1), (3, 0)]).is_right());
        let verdict = served.verdict([(1, 0), (1, 0), (2, 0), (3, 0), (4, 0)]);
        assert_eq!((verdict.lost, verdict.doubled, verdict.invented), (1, 1, 1));
    }
}
