use super::{PartitionId, Proof, StopReason};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// What the records of a read have in common whatever their order: the sum of a 128-bit hash (XXH3) of each record's bytes.
/// Equal for the same records with the same bytes, however they were cut into pages.
///
/// It finds what goes missing, comes twice or changes by accident; it does not stand up to somebody who makes records on
/// purpose to deceive it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentHash(u128);

impl ContentHash {
    /// The hash of one record.
    pub fn of(record: &[u8]) -> Self {
        Self(xxh3_128(record))
    }

    /// With the records of `other` too.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What was handed over: counts, and the hash of the records where it is known where each lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Pages.
    pub pages: u64,
    /// Records.
    pub records: u64,
    /// The hash of the records; `None` if of some it is not known where they lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentHash>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { pages: 0, records: 0, content: Some(ContentHash::default()) }
    }
}

impl Tally {
    /// Adds what came besides.
    pub fn add(&mut self, other: &Self) {
        self.pages += other.pages;
        self.records += other.records;
        self.content = self.content.zip(other.content).map(|(mine, theirs)| mine.and(theirs));
    }
}

/// The bounds of a slice, as the API's own text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Where it begins; `None` if at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where it ends; `None` if at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Window {
    /// From `from` to `to`.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: Some(from.into()), to: Some(to.into()) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "…".to_owned());
        write!(f, "{} to {}", text(&self.from), text(&self.to))
    }
}

/// Whether the listing moved while it was read page by page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Drift {
    /// It was looked for, and there was none.
    NoneSeen,
    /// It was seen so many times, and what had moved was read again.
    Healed(u64),
    /// Nobody looked.
    #[default]
    Unchecked,
    /// It was seen, and could not be healed: something may be missing.
    Open,
}

/// What is known of a partition, or of one window of it: what the API claims, what came, and why it ended.
///
/// ```
/// use landfall::model::{Coverage, Proof, StopReason, Tally, Window};
///
/// let tally = Tally { pages: 9, records: 900, ..Tally::default() };
/// let january = Coverage::of("orders".into(), StopReason::Exhausted(Proof::NoNextPage))
///     .window(Window::new("2024-01-01", "2024-02-01"))
///     .claimed(1_000)
///     .tally(tally);
/// assert_eq!(january.missing().as_deref(), Some("the API claims 1000 records, 900 came"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Coverage {
    /// The partition.
    pub partition: PartitionId,
    /// The window of it; `None` if it is the whole partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Records that there are, as the API says, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<u64>,
    /// What came.
    #[serde(flatten)]
    pub tally: Tally,
    /// Why the read ended.
    pub reason: StopReason,
    /// Whether the listing moved meanwhile.
    #[serde(default)]
    pub drift: Drift,
    /// If the partition is read in windows: what of it was not begun. The windows that were, each have a record of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_begun: Option<Vec<Window>>,
    /// Nothing is said of this window any more: others lie in its place. It is not kept, and what was kept of it is dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
}

impl Coverage {
    /// The coverage of `partition`, whose read ended for `reason`: nothing came. A total that matched is what the API claims.
    pub fn of(partition: PartitionId, reason: StopReason) -> Self {
        let claimed = match reason {
            StopReason::Exhausted(Proof::TotalMatched(total)) => Some(total),
            _ => None,
        };
        Self {
            partition,
            window: None,
            claimed,
            tally: Tally::default(),
            reason,
            drift: Drift::default(),
            not_begun: None,
            withdrawn: false,
        }
    }

    /// The coverage of a partition that is read in windows, as a whole: its windows say for themselves what came, and only what
    /// was `not_begun` is missing besides.
    pub fn windows(partition: PartitionId, reason: StopReason, not_begun: Vec<Window>) -> Self {
        Self { not_begun: Some(not_begun), ..Self::of(partition, reason) }
    }

    /// Takes back what was said of `window` of `partition`: it is cut in another way now.
    pub fn withdrawn(partition: PartitionId, window: Window) -> Self {
        Self { withdrawn: true, ..Self::of(partition, StopReason::Cancelled).window(window) }
    }

    /// Sets the window.
    #[must_use]
    pub fn window(self, window: Window) -> Self {
        Self { window: Some(window), ..self }
    }

    /// Sets how many records there are, as the API says.
    #[must_use]
    pub fn claimed(self, records: u64) -> Self {
        Self { claimed: Some(records), ..self }
    }

    /// Sets what came.
    #[must_use]
    pub fn tally(self, tally: Tally) -> Self {
        Self { tally, ..self }
    }

    /// Sets whether the listing moved meanwhile.
    #[must_use]
    pub fn drift(self, drift: Drift) -> Self {
        Self { drift, ..self }
    }

    /// Why something is, or may be, missing; `None` if it is complete.
    pub fn missing(&self) -> Option<String> {
        if self.withdrawn {
            return None;
        }
        if let Some(not_begun) = &self.not_begun {
            let windows: Vec<String> = not_begun.iter().map(Window::to_string).collect();
            return (!windows.is_empty()).then(|| format!("not begun: {}; {}", windows.join(", "), self.reason));
        }
        if !self.reason.is_complete() {
            return Some(self.reason.to_string());
        }
        if self.drift == Drift::Open {
            return Some("rows moved between pages while it was read".to_owned());
        }
        let claimed = self.claimed.filter(|claimed| *claimed > self.tally.records)?;
        Some(format!("the API claims {claimed} records, {} came", self.tally.records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(records: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for record in records {
            tally.add(&Tally { pages: 1, records: 1, content: Some(ContentHash::of(record.as_bytes())) });
        }
        tally
    }

    #[test]
    fn the_content_hash_knows_records_and_not_their_order() {
        assert_eq!(tally(&["a", "b", "c"]), tally(&["c", "a", "b"]));
        for other in [&["a", "b"][..], &["a", "b", "d"], &["a", "b", "c", "c"], &["ab", "c", ""]] {
            assert_ne!(tally(&["a", "b", "c"]).content, tally(other).content, "{other:?}");
        }
        let mut unknown = tally(&["a"]);
        unknown.add(&Tally { content: None, ..tally(&["b"]) });
        assert_eq!((unknown.records, unknown.content), (2, None), "one that is not known makes it unknown");
    }

    #[test]
    fn is_missing_without_proof_with_open_drift_and_below_what_is_claimed() {
        let whole = || Coverage::of("p".into(), StopReason::Exhausted(Proof::NoNextPage)).tally(tally(&["a", "b"]));
        assert_eq!(whole().missing(), None);
        assert_eq!(whole().claimed(2).missing(), None);
        assert_eq!(whole().claimed(1).drift(Drift::Healed(1)).missing(), None, "more than claimed is no gap");
        assert!(whole().claimed(3).missing().is_some());
        assert!(whole().drift(Drift::Open).missing().is_some());
        assert!(Coverage { reason: StopReason::Cancelled, ..whole() }.missing().is_some());
        let matched = Coverage::of("p".into(), StopReason::Exhausted(Proof::TotalMatched(2)));
        assert_eq!(matched.claimed, Some(2));
    }

    #[test]
    fn of_windows_only_what_was_not_begun_is_missing_and_of_what_is_withdrawn_nothing() {
        let of = |not_begun| Coverage::windows("p".into(), StopReason::Cancelled, not_begun);
        assert_eq!(of(Vec::new()).missing(), None, "those that were begun say it themselves");
        let missing = of(vec![Window::new("1", "3"), Window::new("7", "9")]).missing();
        assert_eq!(missing.as_deref(), Some("not begun: 1 to 3, 7 to 9; cancelled"));
        assert_eq!(Coverage::withdrawn("p".into(), Window::new("1", "3")).missing(), None);
    }

    #[test]
    fn survives_being_written() {
        let coverage = Coverage::of("p".into(), StopReason::LimitReached("max_pages=3".into()))
            .window(Window { from: Some("2024-01-01".into()), to: None })
            .claimed(10)
            .tally(tally(&["a", "b"]))
            .drift(Drift::Healed(2));
        let text = serde_json::to_string(&coverage).expect("serialises");
        assert_eq!(serde_json::from_str::<Coverage>(&text).expect("parses"), coverage, "{text}");
    }
}
