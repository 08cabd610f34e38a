use super::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What shows that a partition was read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Proof {
    /// The API said that there is no next page: an absent cursor or next link, or a flag.
    NoNextPage,
    /// The number of records matches the total that the API claims.
    TotalMatched(u64),
    /// A page without records, in a listing that ends that way.
    EmptyPage,
    /// One response holds everything, and it was whole.
    WholeResponse,
    /// The records come in order, and one of them lies outside of what was asked for: nothing behind it is within.
    PassedBound,
    /// So many windows were read, each to its end with proof of its own; together they cover all that was asked for.
    AllWindows(u64),
    /// The API says that nothing has changed since it was read last.
    NotModified,
    /// An export job that is done named so many files, and all of them were read.
    AllFiles(u64),
    /// The source is finite and was read to its end (files, iterators).
    EndOfInput,
}

/// Why a read of a partition ended. Never just "end".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// Everything was read, and this shows it.
    Exhausted(Proof),
    /// A rule of the user says of a response that there are no records here. Counts as complete.
    Ignored(String),
    /// A configured limit was reached; there may be more.
    LimitReached(String),
    /// The API is not to be asked for longer than a read waits. The position is kept: the run goes on at `until`, if that is known
    /// and within its `Settings::park_budget`, and else the next run does.
    RateLimited {
        /// When the API said to come back, if it did.
        until: Option<Timestamp>,
    },
    /// Stopped on request; the position is kept, and the next run goes on.
    Cancelled,
    /// Ended by an error, given as text; the position is kept.
    Failed(String),
}

impl StopReason {
    /// The kind of end in one or two words, for counting.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Exhausted(_) => "exhausted",
            Self::LimitReached(_) => "limit reached",
            Self::RateLimited { .. } => "rate limited",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "failed",
            Self::Ignored(_) => "ignored",
        }
    }

    /// Whether the read is known to be complete, or what is missing is declared not to matter.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Exhausted(_) | Self::Ignored(_))
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNextPage => f.write_str("no next page"),
            Self::TotalMatched(n) => write!(f, "total of {n} matched"),
            Self::EmptyPage => f.write_str("empty page"),
            Self::WholeResponse => f.write_str("whole response"),
            Self::PassedBound => f.write_str("passed the bound in order"),
            Self::AllWindows(n) => write!(f, "all of {n} windows"),
            Self::NotModified => f.write_str("not modified"),
            Self::AllFiles(n) => write!(f, "all {n} files of the export"),
            Self::EndOfInput => f.write_str("end of input"),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted(proof) => write!(f, "exhausted: {proof}"),
            Self::Ignored(why) => write!(f, "ignored: {why}"),
            Self::LimitReached(limit) => write!(f, "limit reached: {limit}"),
            Self::RateLimited { until: Some(t) } => write!(f, "rate limited until {t}"),
            Self::RateLimited { until: None } => f.write_str("rate limited"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}
