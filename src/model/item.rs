use super::{ContentHash, Part};

/// What moves through a pipeline: something that knows how many records it holds and how much memory it takes.
///
/// The runtime counts records at every hop and holds `bytes` of its budget until the item has been written.
pub trait Item: Send + 'static {
    /// The number of records in this item.
    fn records(&self) -> u64;
    /// Memory held, in bytes; an estimate is enough.
    fn bytes(&self) -> u64;
    /// The hash of its records, for their coverage record; `None` (unless it says otherwise) if it is not known where each
    /// lies. Asked for once, when a source emits it.
    fn content(&self) -> Option<ContentHash> {
        None
    }
    /// Which part of a response it is; `None` (unless it says otherwise) if it is whole.
    fn part(&self) -> Option<Part> {
        None
    }
}

/// A plain batch of values: the simplest [`Item`], for pipelines that do not use Arrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows<T>(pub Vec<T>);

impl<T: Send + 'static> Item for Rows<T> {
    fn records(&self) -> u64 {
        self.0.len() as u64
    }

    fn bytes(&self) -> u64 {
        (self.0.capacity() * size_of::<T>()) as u64
    }
}
