use super::incremental::{CursorValue, Highest, Known, highest};
use crate::env::Env;
use crate::error::Result;
use crate::json::{RecordsPath, ValuePath, scan};
use crate::model::Span;
use bytes::Bytes;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What to find out about each body.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) records: Arc<RecordsPath>,
    pub(super) values: Arc<[ValuePath]>,
    pub(super) cursor: Option<Arc<ValuePath>>,
    pub(super) known: Known,
    /// The key of the hash.
    pub(super) seed: u64,
}

/// What one pass over a body found out.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanned {
    pub(super) spans: Vec<Span>,
    pub(super) values: Vec<Option<String>>,
    /// A hash of the records, if there are any.
    pub(super) content: Option<u64>,
    pub(super) highest: Highest,
    /// The last record, if there are any.
    pub(super) last: Option<Bytes>,
}

impl Look {
    /// Looks at `body`, beside the I/O if it is large. `before` is the highest cursor value so far.
    pub(super) async fn at(&self, env: &Env, body: Bytes, before: Option<CursorValue>) -> Result<Scanned> {
        if body.len() < SMALL {
            return self.scan(&body, before);
        }
        let look = self.clone();
        // The next request waits for it, so it does not queue behind work that nothing waits for.
        env.blocking("scan page", move || look.scan(&body, before)).await?
    }

    fn scan(&self, body: &Bytes, before: Option<CursorValue>) -> Result<Scanned> {
        let found = scan(body, &self.records, &self.values)?;
        let content = match (found.spans.first(), found.spans.last()) {
            (Some(first), Some(last)) => {
                let end = last.start as usize + last.len as usize;
                body.get(first.start as usize..end).map(|records| xxh3_64_with_seed(records, self.seed))
            }
            _ => None,
        };
        let last = found.spans.last().and_then(|span| {
            let start = span.start as usize;
            let range = start..start.checked_add(span.len as usize)?;
            (range.end <= body.len()).then(|| body.slice(range))
        });
        let highest = match &self.cursor {
            Some(path) => highest(body, &found.spans, path, before.as_ref(), &self.known)?,
            None => Highest::default(),
        };
        Ok(Scanned { spans: found.spans, values: found.values, content, highest, last })
    }
}

impl Scanned {
    /// What two parts of one response tell together, apart from the spans.
    pub(super) fn followed_by(self, mut later: Self) -> Self {
        later.content = match (self.content, later.content) {
            (Some(a), Some(b)) => Some(xxh3_64_with_seed(&b.to_le_bytes(), a)),
            (a, b) => a.or(b),
        };
        later.last = later.last.or(self.last);
        later.highest.without += self.highest.without;
        later.highest.of_type += self.highest.of_type;
        later.highest.of_another += self.highest.of_another;
        later.highest.future += self.highest.future;
        later.highest.below += self.highest.below;
        later.highest.beyond += self.highest.beyond;
        later.highest.within += self.highest.within;
        later.highest.order = self.highest.order.followed_by(std::mem::take(&mut later.highest.order));
        later
    }
}

/// Looking at this many bytes takes less than a millisecond: handing them over to another core would take as long.
const SMALL: usize = 1 << 20;
