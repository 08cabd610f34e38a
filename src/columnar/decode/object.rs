//! Objects: finds the column of each key, and fills in what is missing.

use super::cursor::Cursor;
use super::fault::{Checked, Fault};
use super::node::{Node, broken};
use crate::columnar::schema::Column;
use crate::error::Result;
use crate::records::Texts;
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
use std::collections::HashMap;
use std::sync::Arc;

/// What the decoder needs beside the columns while it works on a record.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) text: Vec<u8>,
    /// Set while the values of a record that is not JSON are taken: all of them are texts.
    pub(super) texts: Option<Texts>,
    /// Whether the types are not declared: then a text is a number only if it can be nothing else.
    pub(super) inferred: bool,
    /// Such a record, as JSON.
    pub(super) json: Vec<u8>,
    /// Fields of no column in this record.
    pub(super) unknown: u64,
    /// Whether a field of no column is refused.
    pub(super) refuse_unknown: bool,
    /// Whether a value that its column cannot hold is taken as null; and how many were.
    pub(super) null_unfit: bool,
    pub(super) unfit: u64,
    /// Values that this record lacks, and that were filled in.
    pub(super) filled: usize,
    /// Numbers the objects, so that a key that comes twice in one is seen.
    objects: u64,
}

/// Most values that may be filled in for one record: a few bytes of `[{},{}]` become a row of all columns each.
const MOST_FILLED: usize = 1 << 22;

impl Scratch {
    #[inline]
    pub(super) fn fill(&mut self, values: usize) -> Checked<()> {
        self.filled += values;
        if self.filled > MOST_FILLED {
            return Err(Fault::new("size", format!("more than {MOST_FILLED} nested values are missing")));
        }
        Ok(())
    }
}

/// The columns of an object, found by key.
///
/// Records of one source have their keys in one order, as a rule. So each key remembers which one came after it, and a
/// key is first compared with the remembered one, quotes included; only if it is another one is it looked up.
pub(super) struct Object {
    children: Vec<Child>,
    slots: Vec<Slot>,
    by_name: HashMap<Box<[u8]>, u32>,
}

struct Child {
    node: Node,
    /// The key, for reasons.
    key: String,
    /// The object in which it was found last.
    seen: u64,
    /// Where its column goes among the columns of the whole; unused for a group.
    place: usize,
}

impl Child {
    /// Takes the next value; one that does not fit is null.
    fn take_fit(&mut self, cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Checked<()> {
        let (rows, before) = (self.node.rows(), cursor.clone());
        let Err(fault) = self.node.take(cursor, scratch) else { return Ok(()) };
        if !fault.is_unfit() {
            return Err(fault.within(&self.key));
        }
        self.node.truncate(rows);
        *cursor = before;
        cursor.value()?;
        scratch.unfit += 1;
        scratch.fill(self.node.width())?;
        self.node.take_null();
        Ok(())
    }
}

/// A key that has been met, or is declared. The first slot is the beginning of the object.
struct Slot {
    /// The key as it stands in JSON, with its quotes; empty if it needs escapes there.
    quoted: Box<[u8]>,
    /// The column; none if the field is ignored.
    child: Option<u32>,
    /// The slot of the key that came after it last time.
    next: u32,
}

/// How many ignored keys are remembered.
const MOST_SLOTS: usize = 1024;

impl Object {
    pub(super) fn new<'a>(columns: impl Iterator<Item = &'a Column>) -> Self {
        let mut object = Self::empty();
        for (place, column) in columns.enumerate() {
            object.insert(&column.path, place, column);
        }
        object
    }

    fn empty() -> Self {
        let begin = Slot { quoted: [].into(), child: None, next: 0 };
        Self { children: Vec::new(), slots: vec![begin], by_name: HashMap::new() }
    }

    /// Adds a column at the end of `path`, with groups on the way. The columns have been checked.
    pub(super) fn insert(&mut self, path: &[String], place: usize, column: &Column) {
        let Some((key, inner)) = path.split_first() else { return };
        if inner.is_empty() {
            return self.add(key, place, Node::new(&column.name, &column.kind));
        }
        if !self.by_name.contains_key(key.as_bytes()) {
            self.add(key, place, Node::group(key, Self::empty()));
        }
        let slot = self.by_name.get(key.as_bytes()).and_then(|slot| self.slots.get(*slot as usize));
        let child = slot.and_then(|slot| self.children.get_mut(slot.child? as usize));
        if let Some(group) = child {
            group.node.insert(inner, place, column);
        }
    }

    fn add(&mut self, key: &str, place: usize, node: Node) {
        let child = Some(self.children.len() as u32);
        self.children.push(Child { node, key: key.to_owned(), seen: 0, place });
        self.learn(key.as_bytes(), child);
    }

    fn learn(&mut self, key: &[u8], child: Option<u32>) -> usize {
        let slot = self.slots.len();
        let plain = std::str::from_utf8(key).is_ok() && key.iter().all(|b| *b >= 0x20 && *b != b'"' && *b != b'\\');
        let quoted = if plain { [b"\"", key, b"\""].concat() } else { Vec::new() };
        // In the declared order, until another one has been met.
        if let Some(before) = self.slots.last_mut() {
            before.next = slot as u32;
        }
        self.slots.push(Slot { quoted: quoted.into(), child, next: 0 });
        self.by_name.insert(key.into(), slot as u32);
        slot
    }

    /// Takes an object; its brace is next.
    pub(super) fn take(&mut self, cursor: &mut Cursor<'_>, scratch: &mut Scratch) -> Checked<()> {
        self.take_with(cursor, None, scratch)
    }

    /// Takes an object, and after its fields those of the object `more`.
    pub(super) fn take_with(
        &mut self,
        cursor: &mut Cursor<'_>,
        more: Option<&[u8]>,
        scratch: &mut Scratch,
    ) -> Checked<()> {
        scratch.objects += 1;
        let this = scratch.objects;
        let mut found = self.members(cursor, this, scratch)?;
        if let Some(more) = more {
            // These are JSON, whatever the record is.
            scratch.texts = None;
            found += self.members(&mut Cursor::new(more, 0), this, scratch).map_err(Fault::of_page_fields)?;
        }
        if found < self.children.len() {
            for child in self.children.iter_mut().filter(|child| child.seen != this) {
                scratch.fill(child.node.width())?;
                child.node.take_null();
            }
        }
        Ok(())
    }

    /// Takes the fields of the object with the number `this`, and gives for how many of them there are columns.
    #[inline]
    fn members(&mut self, cursor: &mut Cursor<'_>, this: u64, scratch: &mut Scratch) -> Checked<usize> {
        let mut found = 0;
        let mut before = 0;
        cursor.sequence(b'}', |cursor| {
            before = self.key(cursor, before, scratch)?;
            cursor.space();
            cursor.expect(b':', "a colon")?;
            cursor.space();
            let child = self.slots.get(before).and_then(|slot| slot.child);
            let Some(child) = child.and_then(|child| self.children.get_mut(child as usize)) else {
                scratch.unknown += 1;
                return cursor.value();
            };
            if child.seen == this {
                return Err(Fault::new("duplicate_key", "the key comes twice").within(&child.key));
            }
            child.seen = this;
            found += 1;
            if scratch.null_unfit {
                return child.take_fit(cursor, scratch);
            }
            child.node.take(cursor, scratch).map_err(|fault| fault.within(&child.key))
        })?;
        Ok(found)
    }

    /// Takes a key and gives its slot; for a key that is not remembered, the first one.
    #[inline(always)]
    fn key(&mut self, cursor: &mut Cursor<'_>, before: usize, scratch: &mut Scratch) -> Checked<usize> {
        let guess = self.slots.get(before).map_or(0, |slot| slot.next as usize);
        if let Some(slot) = self.slots.get(guess) {
            if !slot.quoted.is_empty() && cursor.rest().starts_with(&slot.quoted) {
                cursor.skip(slot.quoted.len());
                return Ok(guess);
            }
        }
        self.look_up(cursor, before, scratch)
    }

    #[inline(never)]
    fn look_up(&mut self, cursor: &mut Cursor<'_>, before: usize, scratch: &mut Scratch) -> Checked<usize> {
        if cursor.peek() != b'"' {
            return Err(cursor.broken("a key"));
        }
        let text = cursor.string()?;
        scratch.text.clear();
        text.unescape(&mut scratch.text)?;
        let slot = match self.by_name.get(scratch.text.as_slice()) {
            Some(slot) => *slot as usize,
            None if scratch.refuse_unknown => return Err(unknown(&scratch.text)),
            None if self.slots.len() < self.children.len() + MOST_SLOTS => {
                let last = self.slots.len() - 1;
                let kept = self.slots.get(last).map_or(0, |slot| slot.next);
                let slot = self.learn(&scratch.text.clone(), None);
                if let Some(slot) = self.slots.get_mut(last) {
                    slot.next = kept;
                }
                slot
            }
            None => return Ok(0),
        };
        if let Some(before) = self.slots.get_mut(before) {
            before.next = slot as u32;
        }
        Ok(slot)
    }

    /// How many columns there are, nested ones included.
    pub(super) fn width(&self) -> usize {
        self.children.iter().map(|child| child.node.width()).sum()
    }

    pub(super) fn take_null(&mut self) {
        for child in &mut self.children {
            child.node.take_null();
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        for child in &mut self.children {
            child.node.truncate(rows);
        }
    }

    /// Gives the columns in their declared order, those of groups included.
    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.children.len());
        self.finish_into(&mut columns)?;
        columns.sort_by_key(|(place, _)| *place);
        Ok(columns.into_iter().map(|(_, column)| column).collect())
    }

    fn finish_into(&mut self, columns: &mut Vec<(usize, ArrayRef)>) -> Result<()> {
        for child in &mut self.children {
            if *child.node.field().data_type() == DataType::Null {
                let group = child.node.finish_group().ok_or_else(|| broken("a group has no columns"))?;
                group.finish_into(columns)?;
            } else {
                columns.push((child.place, child.node.finish()?));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields: Vec<&Arc<Field>> = self.children.iter().map(|child| child.node.field()).collect();
        f.debug_struct("Object").field("fields", &fields).finish_non_exhaustive()
    }
}

#[cold]
fn unknown(key: &[u8]) -> Box<Fault> {
    let name: String = String::from_utf8_lossy(key).chars().take(64).collect();
    Fault::new("unknown_field", format!("a field that no column is declared for: {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columnar::schema::ColumnType;

    #[test]
    fn nothing_of_a_batch_is_left_when_it_is_finished() {
        let columns = [Column::new("a", ColumnType::Int64).at(["x", "a"]), Column::new("b", ColumnType::Int64)];
        let (mut root, mut scratch) = (Object::new(columns.iter()), Scratch::default());
        for _ in 0..3 {
            for record in [&b"{\"x\":{\"a\":1},\"b\":1}"[..], b"{\"x\":null}", b"{}"] {
                root.take(&mut Cursor::new(record, 0), &mut scratch).expect("a record");
            }
            assert!(root.children.iter().all(|child| child.node.rows() == 3));
            assert!(root.finish().expect("columns").iter().all(|column| column.len() == 3));
            assert!(root.children.iter().all(|child| child.node.rows() == 0), "{root:?}");
        }
    }
}
