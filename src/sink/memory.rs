use crate::model::Item;

/// A table in memory that a [`MemorySink`] commits to. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryTable<T> {
    _rows: std::marker::PhantomData<T>,
}

/// A sink in memory, transactional: for tests and examples.
#[derive(Clone, Debug)]
pub struct MemorySink<I: Item> {
    _types: std::marker::PhantomData<fn(I)>,
}
