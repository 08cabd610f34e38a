//! A segment's pages to bytes and back. Written description: docs/formats.md, "Segment".

use super::block::{self, BLOCK_BYTES, MAX_BLOCK_BYTES, PackedBlock, Packer};
use super::manifest::{BlockEntry, Manifest, PageEntry, Place, assemble};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::model::{LandingPosition, Origin, Page};
use bytes::Bytes;
use futures::future::try_join_all;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// How the bodies of a segment are compressed.
///
/// The default is `Zstd(-3)`: on order records of 430 bytes of JSON, landing costs the least CPU with it, because what
/// is smaller is also hashed, copied and written faster. `Zstd(1)` takes a tenth more and stores two fifths less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: read back the fastest.
    Lz4,
    /// Zstandard, of the given level: -7 (fast) to 22 (small).
    Zstd(i32),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(-3)
    }
}

/// The payload of a segment, and its pages again. `manifest` says everything but the pages, which are filled in here.
/// Blocks are compressed side by side.
///
/// # Errors
/// `Data` if a body is too large.
pub(super) async fn encode(
    env: &Env,
    packer: &Arc<Packer>,
    pages: Vec<Page>,
    manifest: Manifest,
) -> Result<(Bytes, Vec<Page>)> {
    let blocks: Vec<Vec<Bytes>> = group(&pages)?
        .into_iter()
        .map(|group| pages.get(group).unwrap_or_default().iter().map(|page| page.body.clone()).collect())
        .collect();
    // Everything behind waits for what is landed, so it does not queue for a core; a share for each keeps it to them.
    let shares = blocks.chunks(blocks.len().div_ceil(env.cores()).max(1)).map(|share| {
        let (packer, share) = (Arc::clone(packer), share.to_vec());
        env.blocking("compress pages", move || share.into_iter().map(|bodies| packer.pack(bodies)).collect::<Vec<_>>())
    });
    let packed = try_join_all(shares).await?.into_iter().flatten().collect();
    env.blocking("write segment", move || {
        let (manifest, pieces) = describe(&pages, packed, manifest)?;
        Ok((assemble(&manifest, &pieces)?, pages))
    })
    .await?
}

/// Which pages share a block.
fn group(pages: &[Page]) -> Result<Vec<Range<usize>>> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut bytes = 0_usize;
    for (index, page) in pages.iter().enumerate() {
        let length = page.body.len();
        if length as u64 > MAX_BLOCK_BYTES {
            return Err(Error::data("write segment", "a response is too large to be landed in one piece")
                .with("partition", &page.partition)
                .with("bytes", length)
                .with_hint("land it in parts"));
        }
        if index > start && bytes.saturating_add(length) > BLOCK_BYTES {
            groups.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += length;
    }
    if start < pages.len() {
        groups.push(start..pages.len());
    }
    Ok(groups)
}

/// Fills in what the manifest says about pages and blocks.
fn describe(pages: &[Page], packed: Vec<PackedBlock>, mut manifest: Manifest) -> Result<(Manifest, Vec<Bytes>)> {
    let mut pieces = Vec::new();
    let mut rest = pages.iter();
    for (index, block) in (0..).zip(packed) {
        let entry = BlockEntry { codec: block.codec, raw: block.raw, stored: block.stored() };
        manifest.totals.stored += entry.stored;
        manifest.blocks.push(entry);
        let mut offset = 0;
        for (xxh3, page) in block.checksums.into_iter().zip(rest.by_ref()) {
            let length = page.body.len() as u64;
            manifest.pages.push(PageEntry {
                partition: page.partition.clone(),
                window: page.window.clone(),
                request: page.request.clone(),
                status: page.status,
                headers: page.headers.clone(),
                received_at: page.received_at.as_micros(),
                records: page.records,
                records_path: page.records_path.clone(),
                fields: page.fields.clone(),
                part: page.part,
                block: index,
                offset,
                length,
                xxh3,
            });
            offset += length;
            manifest.totals.pages += 1;
            manifest.totals.raw += length;
            manifest.totals.records = manifest.totals.records.checked_add(page.records).ok_or_else(|| {
                Error::data("write segment", "a page counts too many records").with("partition", &page.partition)
            })?;
        }
        pieces.extend(block.pieces);
    }
    Ok((manifest, pieces))
}

/// The pages of a segment, verified. Blocks are decompressed side by side.
///
/// # Errors
/// `Corrupt`, naming the page, if anything does not fit.
pub(super) async fn decode(
    env: &Env,
    place: Place<'_>,
    payload: &Bytes,
    manifest: Manifest,
    blocks: Vec<Range<usize>>,
) -> Result<Vec<Page>> {
    let mut wanted: Vec<Vec<Wanted>> = blocks.iter().map(|_| Vec::new()).collect();
    for (number, page) in manifest.pages.iter().enumerate() {
        let of_block = usize::try_from(page.block).ok().and_then(|block| wanted.get_mut(block));
        let range = usize::try_from(page.offset).ok().zip(usize::try_from(page.offset + page.length).ok());
        let ((start, end), of_block) =
            range.zip(of_block).ok_or_else(|| place.damaged("a page is too large for this machine"))?;
        of_block.push(Wanted { number, range: start..end, xxh3: page.xxh3 });
    }
    let jobs = manifest.blocks.iter().zip(blocks).zip(wanted).map(|((entry, range), wanted)| {
        let (entry, stored) = (*entry, payload.slice(range));
        env.cpu("decompress pages", move || bodies(entry, stored, &wanted))
    });
    let mut bodies: Vec<Option<Bytes>> = vec![None; manifest.pages.len()];
    for block in try_join_all(jobs).await? {
        for (number, body) in block.map_err(|(page, message)| place.damaged(message).with("page", page))? {
            if let Some(slot) = bodies.get_mut(number) {
                *slot = Some(body);
            }
        }
    }
    let mut pages = Vec::with_capacity(bodies.len());
    for (entry, body) in manifest.pages.into_iter().zip(bodies) {
        let body = body.ok_or_else(|| place.damaged("a page has no body"))?;
        pages.push(entry.into_page(body));
    }
    set_origins(place.segment, &mut pages)?;
    Ok(pages)
}

/// A body to be taken out of a block.
struct Wanted {
    number: usize,
    range: Range<usize>,
    xxh3: u64,
}

type BadPage = (usize, Cow<'static, str>);

/// The bodies in a block. CPU work.
fn bodies(entry: BlockEntry, stored: Bytes, wanted: &[Wanted]) -> Result<Vec<(usize, Bytes)>, BadPage> {
    let first = wanted.first().map_or(0, |w| w.number);
    let raw = block::unpack(entry.codec, stored, entry.raw).map_err(|message| (first, message))?;
    let body = |w: &Wanted| {
        // The manifest's check has shown that pages lie inside of their blocks.
        let body = raw.get(w.range.clone()).map(|slice| raw.slice_ref(slice));
        let body = body.filter(|body| xxh3_64(body) == w.xxh3);
        body.map(|body| (w.number, body)).ok_or((w.number, Cow::Borrowed("a page fails its checksum")))
    };
    wanted.iter().map(body).collect()
}

/// Says of each page where it lies in the segment.
pub(super) fn set_origins(segment: u64, pages: &mut [Page]) -> Result<()> {
    let mut record = 0_u64;
    for (index, page) in pages.iter_mut().enumerate() {
        let number = u32::try_from(index)
            .map_err(|_| Error::config("write segment", "a segment holds more than 4,294,967,296 pages"))?;
        page.origin = Some(Origin { start: LandingPosition { segment, record }, page: number });
        record = record.saturating_add(page.records);
    }
    Ok(())
}
