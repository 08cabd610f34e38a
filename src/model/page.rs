use super::{ContentHash, Item, LandingPosition, PartitionId, Timestamp, Window};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// One raw response, or a numbered part of one that is too large to hold.
///
/// Window, body, path of the records, fields, request, status, headers and times are landed as they are; `origin`, `spans` and `skip`
/// describe this copy in memory only.
#[derive(Clone, Debug)]
pub struct Page {
    /// The partition it was read for.
    pub partition: PartitionId,
    /// The window of it; `None` if it was read as a whole.
    pub window: Option<Window>,
    /// The request that it answers: method, path and query without secrets. For people and for provenance.
    pub request: String,
    /// HTTP status, or 0 where there is none.
    pub status: u16,
    /// Headers worth keeping, by an allow-list of the source. Never credentials.
    pub headers: Vec<(String, String)>,
    /// When the body was complete.
    pub received_at: Timestamp,
    /// The body after content decoding (decompression), exactly as it came otherwise.
    pub body: Bytes,
    /// Records in `body`, as the source counted them. Decoding must account for each.
    pub records: u64,
    /// Set if this is a part of a response.
    pub part: Option<Part>,
    /// Where the records lie in `body`, if the source knows: an RFC 9535 path, or `ndjson`. Landed with the page, so that
    /// whoever decodes it, now or in a replay, finds the records that the source counted.
    pub records_path: Option<Arc<str>>,
    /// Fields that the source gives to every record of this page: a JSON object, such as `{"_post_id":7}` of the parent that
    /// was asked for. Landed with the page. Decoding takes them as if they stood at the end of each record, so a record
    /// that has a field of the same name is refused (`duplicate_key`): neither of the two is right for sure.
    pub fields: Option<Arc<RawValue>>,
    /// Where each record lies in `body`, if the source found out while it looked at the page. What `records_path` gives
    /// again: without that one it is not used, because a replay would not have it.
    pub spans: Option<Arc<[Span]>>,
    /// Where it was landed.
    pub origin: Option<Origin>,
    /// Leading records that have been consumed before and must not be decoded again.
    pub skip: u64,
}

impl Page {
    /// A page of `records` records with nothing else known about it.
    pub fn new(partition: PartitionId, body: impl Into<Bytes>, records: u64, received_at: Timestamp) -> Self {
        Self {
            partition,
            window: None,
            request: String::new(),
            status: 0,
            headers: Vec::new(),
            received_at,
            body: body.into(),
            records,
            part: None,
            records_path: None,
            fields: None,
            spans: None,
            origin: None,
            skip: 0,
        }
    }
}

impl Item for Page {
    fn content(&self) -> Option<ContentHash> {
        let spans = self.spans.as_deref().unwrap_or_default();
        if spans.len() as u64 != self.records {
            return None;
        }
        spans.iter().try_fold(ContentHash::default(), |sum, span| Some(sum.and(ContentHash::of(span.of(&self.body)?))))
    }

    fn part(&self) -> Option<Part> {
        self.part
    }

    fn records(&self) -> u64 {
        self.records.saturating_sub(self.skip)
    }

    fn bytes(&self) -> u64 {
        let fields = self.fields.as_ref().map_or(0, |fields| fields.get().len() as u64);
        self.body.len() as u64 + fields + self.spans.as_ref().map_or(0, |s| size_of_val::<[Span]>(s) as u64)
    }
}

/// Which part of a response a page is. Parts of one response follow each other in the landing, cut between records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Names the response within its landing; random.
    pub response: u64,
    /// The number of this part, from 0. A part 0 of another response supersedes an unfinished one of the same
    /// partition: the old parts are never loaded.
    pub index: u32,
    /// Whether the response is known to be whole with this part.
    pub last: bool,
}

/// Where a page was landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The position of the page's first record (before `skip`).
    pub start: LandingPosition,
    /// The number of the page within its segment, from 0.
    pub page: u32,
}

/// Where a record lies in a body: `start..start + len`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The bytes of the record, or `None` if the span does not lie in `body`.
    pub fn of<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.start as usize;
        body.get(start..start.checked_add(self.len as usize)?)
    }
}
