//! Blocks: the bodies of one or several pages, compressed together.

use super::Compression;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64;

/// How many bytes of bodies are compressed together. A larger body has a block of its own.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// The largest block, and so the largest body.
pub(super) const MAX_BLOCK_BYTES: u64 = 1 << 30;

/// LZ4 makes one byte into 255 at most.
const LZ4_MAX_RATIO: u64 = 255;

/// How a block is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Codec {
    Plain,
    Lz4,
    Zstd,
}

/// A block as it goes into a segment.
#[derive(Debug)]
pub(super) struct PackedBlock {
    pub codec: Codec,
    /// Bytes before compression.
    pub raw: u64,
    /// What is stored, to be written one after the other.
    pub pieces: Vec<Bytes>,
    /// XXH3-64 of each body.
    pub checksums: Vec<u64>,
}

impl PackedBlock {
    /// Bytes as stored.
    pub(super) fn stored(&self) -> u64 {
        self.pieces.iter().map(|p| p.len() as u64).sum()
    }
}

/// Compresses `bodies` into one block; one that does not shrink is stored plain. CPU work.
pub(super) fn pack(bodies: Vec<Bytes>, compression: Compression) -> PackedBlock {
    let checksums = bodies.iter().map(|b| xxh3_64(b)).collect();
    let raw = bodies.iter().map(|b| b.len() as u64).sum();
    let packed = match compression {
        Compression::None => None,
        Compression::Lz4 => Some((Codec::Lz4, lz4_flex::block::compress(&joined(&bodies)))),
        // Without memory for its tables, zstd fails; plain is right too.
        Compression::Zstd(level) => {
            zstd::bulk::compress(&joined(&bodies), level).ok().map(|packed| (Codec::Zstd, packed))
        }
    };
    match packed {
        Some((codec, packed)) if (packed.len() as u64) < raw => {
            PackedBlock { codec, raw, pieces: vec![packed.into()], checksums }
        }
        _ => PackedBlock { codec: Codec::Plain, raw, pieces: bodies, checksums },
    }
}

/// Decompresses a block to exactly `raw` bytes; the error says what is wrong with it. CPU work.
pub(super) fn unpack(codec: Codec, stored: Bytes, raw: u64) -> Result<Bytes, Cow<'static, str>> {
    let size = usize::try_from(raw).ok().filter(|_| raw <= MAX_BLOCK_BYTES).ok_or("a block is larger than allowed")?;
    let unpacked = match codec {
        Codec::Plain => stored,
        Codec::Lz4 => {
            if raw > (stored.len() as u64).saturating_mul(LZ4_MAX_RATIO) {
                return Err("a block claims more bytes than LZ4 can give".into());
            }
            let mut out = vec![0; size];
            let length =
                lz4_flex::block::decompress_into(&stored, &mut out).map_err(|e| format!("a block is not LZ4: {e}"))?;
            out.truncate(length);
            out.into()
        }
        Codec::Zstd => zstd::bulk::decompress(&stored, size).map_err(|e| format!("a block is not zstd: {e}"))?.into(),
    };
    if unpacked.len() != size {
        return Err("a block has another length than the manifest says".into());
    }
    Ok(unpacked)
}

fn joined(bodies: &[Bytes]) -> Cow<'_, [u8]> {
    match bodies {
        [one] => Cow::Borrowed(one),
        many => Cow::Owned(many.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_packed() {
        let bodies = vec![Bytes::from("{\"id\":1}".repeat(500)), Bytes::new(), Bytes::from("[]")];
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(-3)] {
            let packed = pack(bodies.clone(), compression);
            assert_eq!(packed.codec == Codec::Plain, compression == Compression::None);
            let stored = Bytes::from(packed.pieces.concat());
            assert_eq!(packed.stored(), stored.len() as u64);
            assert_eq!(unpack(packed.codec, stored, packed.raw).expect("own block"), bodies.concat());
        }
    }

    #[test]
    fn stores_plain_what_does_not_shrink() {
        for compression in [Compression::Lz4, Compression::Zstd(3)] {
            let packed = pack(vec![Bytes::from_static(b"abc"), Bytes::from_static(b"def")], compression);
            assert_eq!((packed.codec, packed.raw, packed.stored()), (Codec::Plain, 6, 6));
        }
    }

    #[test]
    fn a_claimed_size_is_not_trusted() {
        let packed = pack(vec![Bytes::from("a".repeat(4_000))], Compression::Lz4);
        let stored = packed.pieces.first().expect("one piece").clone();
        for raw in [0, 1, packed.raw - 1, packed.raw + 1, MAX_BLOCK_BYTES, MAX_BLOCK_BYTES + 1, u64::MAX] {
            for codec in [Codec::Plain, Codec::Lz4, Codec::Zstd] {
                assert!(unpack(codec, stored.clone(), raw).is_err(), "{codec:?} {raw}");
            }
        }
    }
}
