use super::Row;
use super::run::Cursor;
use crate::error::Result;
use serde_json::value::RawValue;
use std::vec::IntoIter;

/// Rows in the order of their keys.
#[derive(Debug)]
pub(in crate::landing) enum Sorted {
    Memory(IntoIter<Row>),
    Run(Cursor),
}

impl Sorted {
    async fn next(&mut self) -> Result<Option<Row>> {
        match self {
            Self::Memory(rows) => Ok(rows.next()),
            Self::Run(cursor) => cursor.next().await,
        }
    }
}

/// What becomes of two values of one key, the older first.
pub(in crate::landing) type Fold = fn(Box<RawValue>, Box<RawValue>) -> Result<Box<RawValue>>;

/// The newest counts.
#[expect(clippy::boxed_local, reason = "one fold of several")]
pub(in crate::landing) fn newest(_older: Box<RawValue>, newer: Box<RawValue>) -> Result<Box<RawValue>> {
    Ok(newer)
}

/// The rows of several inputs in the order of their keys; those with one key folded into one.
#[derive(Debug)]
pub(in crate::landing) struct Merge {
    /// Oldest first, each with its next row.
    inputs: Vec<(Sorted, Option<Row>)>,
    fold: Fold,
    begun: bool,
}

impl Merge {
    /// `inputs`: oldest first.
    pub(in crate::landing) fn new(inputs: impl IntoIterator<Item = Sorted>, fold: Fold) -> Self {
        Self { inputs: inputs.into_iter().map(|input| (input, None)).collect(), fold, begun: false }
    }

    pub(in crate::landing) async fn next(&mut self) -> Result<Option<Row>> {
        if !self.begun {
            for (input, head) in &mut self.inputs {
                *head = input.next().await?;
            }
            self.begun = true;
        }
        let heads = self.inputs.iter().filter_map(|(_, head)| head.as_ref());
        let Some(key) = heads.map(|(key, _)| key).min().cloned() else { return Ok(None) };
        let mut folded: Option<Box<RawValue>> = None;
        for (input, head) in &mut self.inputs {
            if head.as_ref().is_some_and(|(next, _)| *next == key) {
                let row = std::mem::replace(head, input.next().await?);
                folded = match (folded, row) {
                    (Some(older), Some((_, newer))) => Some((self.fold)(older, newer)?),
                    (folded, row) => row.map(|(_, value)| value).or(folded),
                };
            }
        }
        Ok(folded.map(|value| (key, value)))
    }
}
