//! The frame of a segment: header, manifest, blocks. Written description: docs/formats.md, "Segment".

use super::block::Codec;
use super::table::{Rows, RunRef, gone};
use super::{coverage, positions};
use crate::error::{Error, Result};
use crate::model::{Page, Part, PartitionId, ShardKey, Timestamp, Window};
use crate::store::ObjectPath;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The format version that this crate writes, and the newest that it reads.
pub(super) const VERSION: u16 = 1;

const MAGIC: &[u8; 4] = b"LFSG";
const HEADER_BYTES: usize = 20;

/// Everything in a segment but the bodies.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub totals: Totals,
    pub blocks: Vec<BlockEntry>,
    pub pages: Vec<PageEntry>,
    /// The positions that moved with this segment. Kept as text, for whoever needs them.
    pub positions: Box<RawValue>,
    /// What is covered with this segment, if something is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Box<RawValue>>,
    /// Partitions whose read ended.
    pub ended: Box<RawValue>,
    /// Partitions that have no position any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<PartitionId>,
    /// Whether the enumeration that began with the fence before is whole with this segment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// The number of the newest segment with a base, this one included; 0 if there is none.
    pub base: u64,
    /// All positions and all that is covered after this segment, if it is a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Base>,
}

/// All rows after a segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    /// The newest rows. Those in runs are older.
    pub rows: Box<RawValue>,
    /// Objects with the rest, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunRef>,
}

impl Manifest {
    /// A manifest without pages.
    pub(super) fn new(positions: Box<RawValue>, ended: Box<RawValue>) -> Self {
        Self {
            totals: Totals::default(),
            blocks: Vec::new(),
            pages: Vec::new(),
            positions,
            coverage: None,
            ended,
            forgotten: Vec::new(),
            whole: false,
            base: 0,
            table: None,
        }
    }

    /// The rows that changed with this segment.
    pub(super) fn moved(&self, place: Place<'_>) -> Result<Rows> {
        let positions: BTreeMap<PartitionId, Box<RawValue>> = parse_kept(&self.positions, place)?;
        let mut rows: Rows = self.forgotten.iter().map(|partition| (positions::key(partition), gone())).collect();
        rows.extend(positions.into_iter().map(|(partition, value)| (positions::key(&partition), value)));
        if let Some(coverage) = &self.coverage {
            for value in parse_kept::<Vec<Box<RawValue>>>(coverage, place)? {
                let of: coverage::Of = parse_kept(&value, place)?;
                let key = coverage::key(&of.partition, of.window.as_ref())?;
                rows.insert(key, if of.withdrawn { gone() } else { value });
            }
        }
        Ok(rows)
    }
}

/// Sums over a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Totals {
    pub pages: u64,
    pub records: u64,
    /// Bytes of all bodies.
    pub raw: u64,
    /// Bytes of all blocks as stored.
    pub stored: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockEntry {
    pub codec: Codec,
    pub raw: u64,
    pub stored: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageEntry {
    pub partition: PartitionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    pub status: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Microseconds since 1970.
    pub received_at: i64,
    pub records: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_path: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Arc<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The block that holds the body.
    pub block: u32,
    /// Where the body starts in the block's raw bytes.
    pub offset: u64,
    pub length: u64,
    /// XXH3-64 of the body.
    pub xxh3: u64,
}

impl PageEntry {
    /// The page, with `body` and without an origin.
    pub(super) fn into_page(self, body: Bytes) -> Page {
        Page {
            window: self.window,
            request: self.request,
            status: self.status,
            headers: self.headers,
            part: self.part,
            records_path: self.records_path,
            fields: self.fields,
            ..Page::new(self.partition, body, self.records, Timestamp::from_micros(self.received_at))
        }
    }
}

/// A segment, for error messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub shard: &'a ShardKey,
    pub segment: u64,
}

impl Place<'_> {
    pub(super) fn damaged(&self, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::corrupt("read segment", message).with("shard", self.shard).with("segment", self.segment)
    }
}

/// The header, the manifest and the blocks as one payload. CPU work.
pub(super) fn assemble(manifest: &Manifest, pieces: &[Bytes]) -> Result<Bytes> {
    let text = serde_json::to_vec(manifest)
        .map_err(|e| Error::bug("write segment", "the manifest does not serialise").with_source(e))?;
    let length = u32::try_from(text.len())
        .map_err(|_| Error::config("write segment", "the manifest is larger than 4 GiB").with("bytes", text.len()))?;
    let blocks: usize = pieces.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(HEADER_BYTES + text.len() + blocks);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&xxh3_64(&text).to_le_bytes());
    out.extend_from_slice(&text);
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    Ok(out.into())
}

/// Reads and checks the manifest of a segment; the bodies are not touched. Also gives where in the payload each block
/// lies.
///
/// # Errors
/// `Config` if the format is newer than this crate, `Corrupt` if anything does not fit.
pub(super) fn parse(payload: &[u8], place: Place<'_>) -> Result<(Manifest, Vec<Range<usize>>)> {
    let header = payload.first_chunk::<HEADER_BYTES>().ok_or_else(|| place.damaged("a segment is cut off"))?;
    let [m0, m1, m2, m3, v0, v1, r0, r1, l0, l1, l2, l3, sum @ ..] = *header;
    if [m0, m1, m2, m3] != *MAGIC {
        return Err(place.damaged("this is not a segment"));
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version > VERSION {
        return Err(newer("read segment", u32::from(version))
            .with("shard", place.shard)
            .with("segment", place.segment));
    }
    if version == 0 || [r0, r1] != [0, 0] {
        return Err(place.damaged("a segment has a header that was never written"));
    }
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    let start = HEADER_BYTES.saturating_add(length);
    let text = payload.get(HEADER_BYTES..start).ok_or_else(|| place.damaged("a segment's manifest is cut off"))?;
    if xxh3_64(text) != u64::from_le_bytes(sum) {
        return Err(place.damaged("a segment's manifest fails its checksum"));
    }
    let manifest: Manifest = serde_json::from_slice(text)
        .map_err(|e| place.damaged("a segment's manifest does not parse").with_source(e))?;
    let blocks = check(&manifest, start, payload.len()).map_err(|message| place.damaged(message))?;
    Ok((manifest, blocks))
}

/// Checks that everything the manifest says fits together and fits the payload.
fn check(manifest: &Manifest, start: usize, end: usize) -> Result<Vec<Range<usize>>, &'static str> {
    let mut ranges = Vec::with_capacity(manifest.blocks.len());
    let mut at = start;
    for block in &manifest.blocks {
        let next = usize::try_from(block.stored).ok().and_then(|stored| at.checked_add(stored));
        let next = next.filter(|&next| next <= end).ok_or("a segment is cut off")?;
        ranges.push(at..next);
        at = next;
    }
    if at != end {
        return Err("a segment has bytes that its manifest does not name");
    }
    let mut totals = Totals { stored: (end - start) as u64, ..Totals::default() };
    for page in &manifest.pages {
        let block = usize::try_from(page.block).ok().and_then(|index| manifest.blocks.get(index));
        let raw = block.ok_or("a page lies in a block that is not there")?.raw;
        if page.offset.checked_add(page.length).is_none_or(|end| end > raw) {
            return Err("a page lies outside of its block");
        }
        totals.pages += 1;
        totals.raw = totals.raw.saturating_add(page.length);
        totals.records = totals.records.checked_add(page.records).ok_or("a segment counts too many records")?;
    }
    if totals != manifest.totals {
        return Err("a segment's totals do not match its pages");
    }
    Ok(ranges)
}

/// `value` as JSON text that gives the same value back.
///
/// # Errors
/// `Bug` if it does not: what cannot be read again is not written.
pub(super) fn keep<T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> Result<Box<RawValue>> {
    let unfit = "a position or a stop reason does not survive being written as JSON";
    let failed = |e| Error::bug("write segment", unfit).with_source(e);
    let text = to_raw_value(value).map_err(failed)?;
    if &serde_json::from_str::<T>(text.get()).map_err(failed)? != value {
        return Err(Error::bug("write segment", unfit)
            .with_hint("keep fractions as text, nest less than 100 levels, use times between the years 0 and 9999"));
    }
    Ok(text)
}

/// Gives back what [`keep`] kept.
pub(super) fn parse_kept<T: DeserializeOwned>(text: &RawValue, place: Place<'_>) -> Result<T> {
    serde_json::from_str(text.get()).map_err(|e| place.damaged("a segment's positions do not parse").with_source(e))
}

/// Reads a JSON object of our own that says its format in `format`.
///
/// # Errors
/// `Config` if the format is newer than `newest`, `Corrupt` if it does not parse.
pub(super) fn read_versioned<T: DeserializeOwned>(
    operation: &'static str,
    path: &ObjectPath,
    bytes: &[u8],
    newest: u32,
) -> Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let damaged = |e| Error::corrupt(operation, "the object does not parse").with("object", path).with_source(e);
    let Versioned { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > newest {
        return Err(newer(operation, format).with("object", path));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

fn newer(operation: &'static str, format: u32) -> Error {
    Error::config(operation, "this was written by a newer version of this crate")
        .with("format", format)
        .with_hint("upgrade; an older version never guesses what a newer one wrote")
}
