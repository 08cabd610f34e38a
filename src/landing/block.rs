//! Blocks: the bodies of one or several pages, compressed together.

use super::Compression;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// How many bytes of bodies are compressed together. A larger body has a block of its own.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// The largest block, and so the largest body.
pub(super) const MAX_BLOCK_BYTES: u64 = 1 << 30;

/// LZ4 makes one byte into 255 at most.
const LZ4_MAX_RATIO: u64 = 255;

/// Zstandard makes four bytes (a block of one repeated byte) into 128 KiB at most (RFC 8878, 3.1.1.2).
const ZSTD_MAX_RATIO: u64 = 32 << 10;

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

/// Compresses blocks. Its memory is used again for the next block, because memory that is new to the process costs more
/// than compressing into it.
pub(super) struct Packer {
    compression: Compression,
    idle: Mutex<Vec<Scratch>>,
}

/// The memory for one block at a time.
#[derive(Default)]
struct Scratch {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    joined: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    pub(super) fn new(compression: Compression) -> Self {
        Self { compression, idle: Mutex::default() }
    }

    /// Compresses `bodies` into one block; one that does not shrink is stored plain. CPU work.
    pub(super) fn pack(&self, bodies: Vec<Bytes>) -> PackedBlock {
        let checksums = bodies.iter().map(|b| xxh3_64(b)).collect();
        let raw = bodies.iter().map(|b| b.len() as u64).sum();
        let mut scratch = self.idle().pop().unwrap_or_default();
        let packed = scratch.compress(&bodies, self.compression).filter(|(_, packed)| (packed.len() as u64) < raw);
        let block = match packed {
            Some((codec, packed)) => {
                PackedBlock { codec, raw, pieces: vec![Bytes::copy_from_slice(packed)], checksums }
            }
            None => PackedBlock { codec: Codec::Plain, raw, pieces: bodies, checksums },
        };
        if scratch.joined.capacity().max(scratch.packed.capacity()) <= 2 * BLOCK_BYTES {
            self.idle().push(scratch);
        }
        block
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Scratch>> {
        // Nothing is left half done by a panic elsewhere.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl Scratch {
    /// `None` if nothing is to be compressed, or if zstd has no memory for its tables: plain is right too.
    fn compress(&mut self, bodies: &[Bytes], compression: Compression) -> Option<(Codec, &[u8])> {
        let raw = match bodies {
            [one] => one,
            many => {
                self.joined.clear();
                many.iter().for_each(|body| self.joined.extend_from_slice(body));
                self.joined.as_slice()
            }
        };
        self.packed.clear();
        match compression {
            Compression::None => None,
            Compression::Lz4 => {
                self.packed.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                let length = lz4_flex::block::compress_into(raw, &mut self.packed).ok()?;
                Some((Codec::Lz4, self.packed.get(..length)?))
            }
            Compression::Zstd(level) => {
                if self.zstd.is_none() {
                    self.zstd = zstd::bulk::Compressor::new(level).ok();
                }
                self.packed.reserve(zstd::zstd_safe::compress_bound(raw.len()));
                self.zstd.as_mut()?.compress_to_buffer(raw, &mut self.packed).ok()?;
                Some((Codec::Zstd, self.packed.as_slice()))
            }
        }
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
        Codec::Zstd => unzstd(&stored, size)?.into(),
    };
    if unpacked.len() != size {
        return Err("a block has another length than the manifest says".into());
    }
    Ok(unpacked)
}

/// Decompresses to at most `size` bytes. Memory is taken only for what the stored bytes can give.
pub(super) fn unzstd(stored: &[u8], size: usize) -> Result<Vec<u8>, Cow<'static, str>> {
    if size as u64 > (stored.len() as u64).saturating_mul(ZSTD_MAX_RATIO) {
        return Err("a block claims more bytes than zstd can give".into());
    }
    zstd::bulk::decompress(stored, size).map_err(|e| format!("a block is not zstd: {e}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zstd_can_give_is_taken_and_no_more_is_believed() {
        let raw = Bytes::from(vec![b'x'; 64 << 20]);
        let packed = Packer::new(Compression::Zstd(1)).pack(vec![raw.clone()]);
        let stored = Bytes::from(packed.pieces.concat());
        assert!(raw.len() as u64 > stored.len() as u64 * 10_000, "the most that there is: {}", stored.len());
        assert_eq!(unpack(Codec::Zstd, stored.clone(), packed.raw).expect("own block"), raw);
        let refused = unpack(Codec::Zstd, Bytes::from_static(b"tiny"), MAX_BLOCK_BYTES).expect_err("too much");
        assert!(refused.contains("more bytes than zstd can give"), "{refused}");
    }

    #[test]
    fn gives_back_what_was_packed() {
        let bodies = vec![Bytes::from("{\"id\":1}".repeat(500)), Bytes::new(), Bytes::from("[]")];
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(-3)] {
            let packed = Packer::new(compression).pack(bodies.clone());
            assert_eq!(packed.codec == Codec::Plain, compression == Compression::None);
            let stored = Bytes::from(packed.pieces.concat());
            assert_eq!(packed.stored(), stored.len() as u64);
            assert_eq!(unpack(packed.codec, stored, packed.raw).expect("own block"), bodies.concat());
        }
    }

    #[test]
    fn a_packer_gives_the_same_whatever_it_packed_before() {
        let bodies: Vec<Bytes> =
            (1..=5usize).map(|n| Bytes::from(format!("{{\"id\":{n}}}").repeat(n * 70_000))).collect();
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(-3)] {
            let used = Packer::new(compression);
            for count in [5, 1, 3, 2] {
                let some = bodies.iter().take(count).cloned().collect::<Vec<_>>();
                let (again, fresh) = (used.pack(some.clone()), Packer::new(compression).pack(some));
                assert_eq!((again.pieces, again.checksums), (fresh.pieces, fresh.checksums));
            }
        }
    }

    #[test]
    fn stores_plain_what_does_not_shrink() {
        for compression in [Compression::Lz4, Compression::Zstd(3)] {
            let packed = Packer::new(compression).pack(vec![Bytes::from_static(b"abc"), Bytes::from_static(b"def")]);
            assert_eq!((packed.codec, packed.raw, packed.stored()), (Codec::Plain, 6, 6));
        }
    }

    #[test]
    fn a_claimed_size_is_not_trusted() {
        let packed = Packer::new(Compression::Lz4).pack(vec![Bytes::from("a".repeat(4_000))]);
        let stored = packed.pieces.first().expect("one piece").clone();
        for raw in [0, 1, packed.raw - 1, packed.raw + 1, MAX_BLOCK_BYTES, MAX_BLOCK_BYTES + 1, u64::MAX] {
            for codec in [Codec::Plain, Codec::Lz4, Codec::Zstd] {
                assert!(unpack(codec, stored.clone(), raw).is_err(), "{codec:?} {raw}");
            }
        }
    }
}
