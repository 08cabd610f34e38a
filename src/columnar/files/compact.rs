//! Values in the compact protocol of Thrift, of which footers and headers of pages are made.

use super::varint;

/// Groups within groups.
pub(super) const DEEPEST: usize = 100;

pub(super) const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;
pub(super) const I32: u8 = 5;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// A value in the compact protocol of Thrift, from which is read. Nothing is read from one that is cut short, or too deep.
/// See "Thrift Compact protocol encoding".
pub(super) struct Compact<'a>(pub(super) &'a [u8]);

/// What becomes of a member: its number, and of what kind it is.
pub(super) type Member<'f, 'a> = &'f mut dyn FnMut(&mut Compact<'a>, i16, u8) -> Option<()>;

impl<'a> Compact<'a> {
    fn varint(&mut self) -> Option<u64> {
        let (number, rest) = varint(self.0)?;
        self.0 = rest;
        Some(number)
    }

    /// An integer with its sign in the last bit, if it is not negative.
    pub(super) fn int(&mut self) -> Option<u64> {
        self.varint().filter(|n| n & 1 == 0).map(|n| n >> 1)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self, length: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    /// The members of a struct.
    pub(super) fn members(&mut self, depth: usize, each: Member<'_, 'a>) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            if head & 0x0f == 0 {
                return Some(());
            }
            number = match head >> 4 {
                0 => i16::try_from(self.int()?).ok()?,
                more => number.checked_add(more.into())?,
            };
            each(self, number, head & 0x0f)?;
        }
    }

    /// The elements of a list, of which each takes a byte at least.
    pub(super) fn list(
        &mut self,
        depth: usize,
        most: u64,
        each: &mut dyn FnMut(&mut Self, u8) -> Option<()>,
    ) -> Option<()> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            few => few.into(),
        };
        if count > most.min(self.0.len() as u64) || depth > DEEPEST {
            return None;
        }
        (0..count).try_for_each(|_| each(self, head & 0x0f))
    }

    /// A member.
    pub(super) fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            // They have their value in the kind.
            TRUE | FALSE => Some(()),
            3 => self.bytes(1),
            4..=6 => self.varint().map(drop),
            7 => self.bytes(8),
            BINARY => {
                let length = self.varint()?;
                self.bytes(length)
            }
            // A set is a list.
            LIST | 10 => self.list(depth, u64::MAX, &mut |this, kind| this.element(kind, depth + 1)),
            11 => {
                let count = self.varint()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                if count > self.0.len() as u64 || depth > DEEPEST {
                    return None;
                }
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, depth + 1)?;
                    self.element(kinds & 0x0f, depth + 1)
                })
            }
            STRUCT => self.members(depth, &mut |this, _, kind| this.skip(kind, depth + 1)),
            13 => self.bytes(16),
            _ => None,
        }
    }

    /// An element of a list or map. Of truth values there is none in any footer, and readers do not agree on how many bytes they have.
    pub(super) fn element(&mut self, kind: u8, depth: usize) -> Option<()> {
        if kind > FALSE { self.skip(kind, depth) } else { None }
    }
}
