//! Finds the end of a bracketed value by looking at 64 bytes at a time.

use super::MAX_DEPTH;
use crate::error::{Error, Result, Status};

/// The place after the object or array that opens at `start`, which lies in `depth` others.
///
/// Brackets must match, and strings be closed; other marks are not looked at.
pub(super) fn container(body: &[u8], start: usize, depth: usize) -> Result<usize> {
    let mut at = start;
    let mut inside_string = 0u64;
    let mut escaped_first = 0u64;
    // One bit for each open bracket, the innermost lowest: set for `{`. `MAX_DEPTH` is the number of bits.
    let mut open = 0u128;
    let mut level = depth;
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Err(ends_early(body.len()));
        }
        let mut padded = [0u8; 64];
        let block = rest.first_chunk::<64>().unwrap_or_else(|| {
            padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            &padded
        });

        let mut quotes = mask(block, |b| b == b'"');
        let backslashes = mask(block, |b| b == b'\\');
        if backslashes | escaped_first != 0 {
            quotes &= !escaped(backslashes, &mut escaped_first);
        }
        // Set from an opening quote to before the closing one.
        let strings = prefix_xor(quotes) ^ inside_string;
        inside_string = if strings >> 63 == 1 { u64::MAX } else { 0 };

        let mut brackets = mask(block, |b| matches!(b | 0x20, b'{' | b'}')) & !strings;
        while brackets != 0 {
            let bit = brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            let mark = block.get(bit).copied().unwrap_or_default();
            let is_object = u128::from(mark & 0x20 != 0);
            if mark & 0x04 == 0 {
                if level == MAX_DEPTH {
                    return Err(too_deep(at + bit));
                }
                level += 1;
                open = open << 1 | is_object;
            } else {
                if open & 1 != is_object {
                    return Err(
                        Error::data("scan page", "a bracket is closed by one of another kind").with("at", at + bit)
                    );
                }
                level -= 1;
                open >>= 1;
                if level == depth {
                    return Ok(at + bit + 1);
                }
            }
        }
        at += 64;
    }
}

/// The place after the string that opens at `start`.
pub(super) fn string(body: &[u8], start: usize) -> Result<usize> {
    let mut at = start + 1;
    loop {
        match body.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return Err(ends_early(body.len())),
        }
    }
}

/// The page ends in the middle: reading it again may help.
pub(crate) fn ends_early(at: usize) -> Error {
    Error::data("scan page", "the page ends too early").with("at", at).with_status(Status::Transient)
}

pub(super) fn too_deep(at: usize) -> Error {
    Error::data("scan page", "the JSON is nested too deep").with("at", at).with("levels", MAX_DEPTH)
}

/// One bit for each byte that is a hit, the first byte lowest.
#[inline]
pub(super) fn mask(block: &[u8; 64], hit: impl Fn(u8) -> bool) -> u64 {
    let mut hits = [0u8; 64];
    for (lane, byte) in hits.iter_mut().zip(block) {
        *lane = u8::from(hit(*byte));
    }
    let mut bits = 0;
    for (i, word) in hits.chunks_exact(8).filter_map(|w| w.first_chunk::<8>()).enumerate() {
        // Gathers the lowest bit of each byte into the highest byte: the product has no carries.
        bits |= (u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    bits
}

/// Each bit is the parity of the bits up to it.
#[inline]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// The bytes that a backslash makes ordinary. `first` says so of the first byte, and is set for the next block.
fn escaped(mut backslashes: u64, first: &mut u64) -> u64 {
    let mut escaped = *first;
    backslashes &= !escaped;
    *first = 0;
    while backslashes != 0 {
        let bit = backslashes & backslashes.wrapping_neg();
        let next = bit << 1;
        *first = u64::from(next == 0);
        escaped |= next;
        backslashes &= !(bit | next);
    }
    escaped
}
