use crate::testkit::Verdict;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What an API has served, and what it holds: the table that a destination is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    pub(super) rows: Vec<ServedRow>,
    pub(super) held: BTreeMap<u64, u64>,
    pub(super) landed: BTreeSet<(u64, u64)>,
}

/// A version of a record in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// All of it.
    pub row: Value,
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

    /// Compares a destination, each of its rows as a JSON object, with this: what the API holds must be there once; nothing may be there twice,
    /// and nothing that was never sent. Versions that it does not hold any more may be there, if they were sent. A row has at least `id` and
    /// `version`; whatever else it has must be what was sent.
    pub fn verdict(&self, found: impl IntoIterator<Item = Value>) -> Verdict {
        let mut counts = BTreeMap::<(u64, u64), u64>::new();
        let sent: BTreeMap<(u64, u64), &Value> =
            self.rows.iter().map(|row| ((row.id, row.version), &row.row)).collect();
        let mut verdict = Verdict::default();
        for row in found {
            let key = row["id"].as_u64().zip(row["version"].as_u64());
            let Some((key, sent)) = key.and_then(|key| Some((key, sent.get(&key)?))) else {
                verdict.invented += 1;
                continue;
            };
            *counts.entry(key).or_default() += 1;
            let fields = row.as_object().into_iter().flatten();
            if let Some((name, value)) = fields.into_iter().find(|(name, value)| sent[name.as_str()] != **value) {
                verdict.wrong.push(format!("record {key:?}: {name} is {value}, not {}", sent[name.as_str()]));
            }
        }
        verdict.doubled = counts.values().map(|times| times - 1).sum();
        let landed = self.landed.iter().copied();
        let wanted: BTreeSet<_> = self.held.iter().map(|(id, version)| (*id, *version)).chain(landed).collect();
        verdict.lost = wanted.iter().filter(|row| !counts.contains_key(row)).count() as u64;
        verdict
    }

    /// These, by id and version, were landed: they must be there too, although newer ones came.
    #[must_use]
    pub fn with_landed(mut self, rows: impl IntoIterator<Item = (u64, u64)>) -> Self {
        self.landed.extend(rows);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_verdict_tells_what_is_lost_doubled_invented_and_changed() {
        let row = |id: u64, version: u64| json!({ "id": id, "version": version, "name": format!("{id}.{version}") });
        let sent = |id, version| ServedRow { id, version, page: 0, whole: true, row: row(id, version) };
        let held = [(1, 0), (2, 1), (3, 0)].into_iter().collect();
        let rows = vec![sent(1, 0), sent(2, 0), sent(2, 1), sent(3, 0)];
        let served = Served { rows, held, landed: BTreeSet::new() };
        assert!(served.verdict([row(1, 0), row(2, 0), row(2, 1), row(3, 0)]).is_right());
        let verdict = served.verdict([row(1, 0), row(1, 0), row(2, 0), row(3, 0), row(4, 0)]);
        assert_eq!((verdict.lost, verdict.doubled, verdict.invented), (1, 1, 1));
        let changed = json!({ "id": 1, "version": 0, "name": "1.1" });
        let verdict = served.verdict([changed, row(2, 1), row(3, 0)]);
        assert_eq!(verdict.wrong, [r#"record (1, 0): name is "1.1", not "1.0""#]);
        let found = [row(1, 0), row(2, 1), row(3, 0)];
        assert!(served.verdict(found.clone()).is_right());
        assert_eq!(served.with_landed([(2, 0)]).verdict(found).lost, 1);
    }
}
