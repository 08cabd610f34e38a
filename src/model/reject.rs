use super::{LandingPosition, PartitionId, Span, Timestamp};
use bytes::Bytes;

/// A record that a stage refuses: what it was, why, and where its bytes were landed.
#[derive(Clone, Debug)]
pub struct Reject {
    /// A short stable word for the reason, such as `type`, `required` or `json`: for counting.
    pub code: &'static str,
    /// What is wrong, for a person: field and rule. Does not repeat the record's content.
    pub reason: String,
    /// The exact bytes of the record.
    pub raw: Bytes,
    /// The partition it was read for, where known.
    pub partition: Option<PartitionId>,
    /// The landed record, where it was landed.
    pub origin: Option<LandingPosition>,
    /// Where it lies in the body of its page, where known.
    pub span: Option<Span>,
    /// When its page was received, where known.
    pub received_at: Option<Timestamp>,
}

impl Reject {
    /// A rejected record with nothing known about where it came from.
    pub fn new(code: &'static str, reason: impl Into<String>, raw: impl Into<Bytes>) -> Self {
        Self {
            code,
            reason: reason.into(),
            raw: raw.into(),
            partition: None,
            origin: None,
            span: None,
            received_at: None,
        }
    }
}
