use super::incremental::{CursorValue, Highest, Known, highest};
use crate::env::Env;
use crate::error::Result;
use crate::json::{Scan, ValuePath, field};
use crate::model::{Part, Span};
use crate::records::RecordsPath;
use bytes::Bytes;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What to find out about each body.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) values: Arc<[ValuePath]>,
    pub(super) cursor: Option<Arc<ValuePath>>,
    pub(super) known: Known,
    /// The key of the hash.
    pub(super) seed: u64,
    /// Takes a print of each record: of these fields, or of all of it if there are none.
    pub(super) prints: Option<Arc<[ValuePath]>>,
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
    /// What tells the records from each other, if that is asked for.
    pub(super) prints: Vec<u64>,
}

/// A body to look at: a whole response, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub(super) path: Arc<RecordsPath>,
    pub(super) body: Bytes,
    /// All of the response but the records, with the last part of one that has values besides.
    pub(super) envelope: Option<Bytes>,
    pub(super) part: Option<Part>,
}

impl Look {
    /// Looks at a body, beside the I/O if it is large. `before` is the highest cursor value so far.
    pub(super) async fn at(&self, env: &Env, looked: Looked, before: Option<CursorValue>) -> Result<Scanned> {
        if looked.body.len() < SMALL {
            return self.scan(&looked, before);
        }
        let look = self.clone();
        // The next request waits for it, so it does not queue behind work that nothing waits for.
        env.blocking("scan page", move || look.scan(&looked, before)).await?
    }

    /// A hash of the records of `body` that lie at `spans`, if there are any.
    pub(super) fn content(&self, body: &[u8], spans: &[Span]) -> Option<u64> {
        let (first, last) = (spans.first()?, spans.last()?);
        let end = last.start as usize + last.len as usize;
        body.get(first.start as usize..end).map(|records| xxh3_64_with_seed(records, self.seed))
    }

    fn scan(&self, looked: &Looked, before: Option<CursorValue>) -> Result<Scanned> {
        let Looked { path, body, envelope, part } = looked;
        let found = match part {
            None => path.scan(body, &self.values)?,
            Some(_) => {
                let around = envelope.as_ref().map(|envelope| path.scan(envelope, &self.values)).transpose()?;
                Scan { spans: path.spans(body, *part)?, values: around.map(|a| a.values).unwrap_or_default() }
            }
        };
        let content = self.content(body, &found.spans);
        let last = found.spans.last().and_then(|span| match path.as_json(body, &[*span]) {
            Some((json, _)) => Some(json.into()),
            None => span.of(body).map(|record| body.slice_ref(record)),
        });
        let looks_inside = self.prints.is_some() || self.cursor.is_some();
        let json = if looks_inside { path.as_json(body, &found.spans) } else { None };
        let (text, spans) = json.as_ref().map_or((body.as_ref(), &found.spans), |(b, s)| (b.as_slice(), s));
        let prints = match &self.prints {
            Some(key) => {
                spans.iter().map(|span| print(span.of(text).unwrap_or_default(), key)).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        let highest = match &self.cursor {
            Some(field) => highest(text, spans, field, before.as_ref(), &self.known)?,
            None => Highest::default(),
        };
        Ok(Scanned { spans: found.spans, values: found.values, content, highest, last, prints })
    }
}

impl Scanned {
    /// What two parts of one response tell together, apart from the spans.
    pub(super) fn followed_by(self, mut later: Self) -> Self {
        later.content = match (self.content, later.content) {
            (Some(a), Some(b)) => Some(xxh3_64_with_seed(&b.to_le_bytes(), a)),
            (a, b) => a.or(b),
        };
        let prints = std::mem::take(&mut later.prints);
        later.prints = self.prints;
        later.prints.extend(prints);
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

/// A hash of the fields of `record` at `key`, or of its bytes. It is kept in positions, so it has no key of its own.
fn print(record: &[u8], key: &[ValuePath]) -> Result<u64> {
    if key.is_empty() {
        return Ok(xxh3_64_with_seed(record, 0));
    }
    key.iter().try_fold(0, |hash, path| Ok(xxh3_64_with_seed(field(record, path)?.unwrap_or(b"null"), hash)))
}

/// Looking at this many bytes takes less than a millisecond: handing them over to another core would take as long.
const SMALL: usize = 1 << 20;
