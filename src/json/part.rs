//! Pages too large to hold: cut between the records of one array while they stream, and found again in each part.
//!
//! A part ends behind the comma that follows its last record. So part 0 begins with the page, a part in the middle holds
//! `{…},{…},`, and the last one the rest of the page.

use super::path::{Query, Step};
use super::scan::{selects_nothing, span};
use super::skip::{ends_early, string};
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::model::{Part, Span};
use std::ops::Range;

/// Where the records of a part of a page lie.
///
/// # Errors
/// As [`scan`](super::scan()); what lies around the records is not looked at. `Data` too if records of this query never come in parts.
pub(crate) fn part(body: &[u8], query: &Query, part: Part) -> Result<Vec<Span>> {
    let place = Place::of(query).ok_or_else(|| {
        Error::data("scan page", "records of this path do not come in parts").with("path", query.as_str())
    })?;
    let mut walk = Walk::page(body)?;
    let mut records = if part.index == 0 {
        Records::open(&mut walk, &place)?.ok_or_else(|| selects_nothing(body, query))?
    } else {
        Records::within(&mut walk, &place)
    };
    let mut spans = Vec::new();
    while !records.closed && (part.last || !walk.is_at_end()) {
        let record = records.next(&mut walk)?;
        spans.push(span(record.start, record.len()));
    }
    if records.closed && !part.last {
        return Err(Error::data("scan page", "the records end before the last part").with("part", part.index));
    }
    Ok(spans)
}

/// The one array or object whose elements or members are the records.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The way to it.
    pub(super) steps: Vec<Step>,
    /// Whether it may be an object.
    members: bool,
}

impl Place {
    pub(super) fn of(query: &Query) -> Option<Self> {
        let (last, steps) = query.simple()?.split_last()?;
        let members = match last {
            Step::Elements => false,
            Step::Members => true,
            Step::Name(_) | Step::Index(_) => return None,
        };
        Some(Self { steps: steps.to_vec(), members })
    }
}

/// The records of a place, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    /// The bracket that ends them, if it is known.
    close: Option<u8>,
    pub(super) closed: bool,
}

impl Records {
    /// Goes to the first record. `None` if what stands in their place holds none.
    pub(super) fn open(walk: &mut Walk<'_>, place: &Place) -> Result<Option<Self>> {
        for step in &place.steps {
            if !walk.enter(step)? {
                return if walk.is_at_end() { Err(ends_early(walk.at)) } else { Ok(None) };
            }
        }
        let close = match walk.after_blank() {
            Some(b'[') => b']',
            Some(b'{') if place.members => b'}',
            Some(_) => return Ok(None),
            None => return Err(ends_early(walk.at)),
        };
        walk.open()?;
        // Nothing behind it yet does not mean that there is a record.
        let closed = walk.after_blank().ok_or_else(|| ends_early(walk.at))? == close;
        if closed {
            walk.close();
        }
        Ok(Some(Self { close: Some(close), closed }))
    }

    /// At the beginning of a part that is not the first.
    pub(super) fn within(walk: &mut Walk<'_>, place: &Place) -> Self {
        walk.depth = place.steps.len() + 1;
        Self { close: (!place.members).then_some(b']'), closed: false }
    }

    /// Takes a record, and the comma or bracket behind it.
    pub(super) fn next(&mut self, walk: &mut Walk<'_>) -> Result<Range<usize>> {
        if self.is_named(walk)? {
            walk.key()?;
        }
        walk.blank();
        let start = walk.at;
        walk.skip()?;
        let record = start..walk.at;
        match walk.after_blank() {
            Some(b',') => walk.at += 1,
            Some(mark) if Some(mark) == self.close => {
                walk.close();
                self.closed = true;
            }
            _ => return Err(walk.unexpected("a comma or the closing bracket")),
        }
        Ok(record)
    }

    /// Whether the next record is a member of an object. What kind a part lies in, its first record shows.
    fn is_named(&mut self, walk: &mut Walk<'_>) -> Result<bool> {
        if self.close.is_none() {
            let named = walk.after_blank() == Some(b'"') && {
                let mut behind = Walk { at: string(walk.body, walk.at)?, ..*walk };
                match behind.after_blank() {
                    None => return Err(ends_early(behind.at)),
                    mark => mark == Some(b':'),
                }
            };
            self.close = Some(if named { b'}' } else { b']' });
        }
        Ok(self.close == Some(b'}'))
    }
}
