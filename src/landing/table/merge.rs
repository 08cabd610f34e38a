use super::Row;
use super::run::Cursor;
use crate::error::Result;
use std::vec::IntoIter;

/// Rows in the order of their keys.
#[derive(Debug)]
pub(super) enum Sorted {
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

/// The rows of several inputs in the order of their keys; of those with one key the newest.
#[derive(Debug)]
pub(super) struct Merge {
    /// Oldest first, each with its next row.
    inputs: Vec<(Sorted, Option<Row>)>,
    begun: bool,
}

impl Merge {
    /// `inputs`: oldest first.
    pub(super) fn new(inputs: impl IntoIterator<Item = Sorted>) -> Self {
        Self { inputs: inputs.into_iter().map(|input| (input, None)).collect(), begun: false }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Row>> {
        if !self.begun {
            for (input, head) in &mut self.inputs {
                *head = input.next().await?;
            }
            self.begun = true;
        }
        let heads = self.inputs.iter().filter_map(|(_, head)| head.as_ref());
        let Some(key) = heads.map(|(key, _)| key).min().cloned() else { return Ok(None) };
        let mut newest = None;
        for (input, head) in &mut self.inputs {
            if head.as_ref().is_some_and(|(next, _)| *next == key) {
                newest = std::mem::replace(head, input.next().await?);
            }
        }
        Ok(newest)
    }
}
