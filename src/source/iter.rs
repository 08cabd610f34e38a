use super::{ComponentConfig, Emitter, Listing, Source};
use crate::env::Env;
use crate::error::Result;
use crate::model::{Item, Partition, Position, Proof, Rows, StopReason, Validity};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A source over values in memory: replayable itself, so it needs no landing.
#[derive(Clone, Debug)]
pub struct IterSource<T> {
    partitions: Vec<(Partition, Vec<T>)>,
    batch: usize,
}

/// How many rows of a partition have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsRead(pub u64);

impl Position for RowsRead {
    fn validity(&self) -> Validity {
        Validity::Durable
    }
}

impl<T: Clone + Send + Sync + 'static> IterSource<T> {
    /// One partition named `all`, read 1,000 rows at a time.
    pub fn new(rows: impl IntoIterator<Item = T>) -> Self {
        Self { partitions: vec![(Partition::new("all"), rows.into_iter().collect())], batch: 1_000 }
    }

    /// Adds a partition.
    #[must_use]
    pub fn with_partition(mut self, id: &str, rows: impl IntoIterator<Item = T>) -> Self {
        self.partitions.push((Partition::new(id), rows.into_iter().collect()));
        self
    }

    /// Sets how many rows an item holds; at least 1.
    #[must_use]
    pub fn with_batch(mut self, rows: usize) -> Self {
        self.batch = rows.max(1);
        self
    }
}

#[async_trait]
impl<T: Clone + Send + Sync + 'static> Source for IterSource<T>
where
    Rows<T>: Item,
{
    type Item = Rows<T>;
    type Position = RowsRead;

    fn config(&self) -> Result<ComponentConfig> {
        Ok(ComponentConfig::none())
    }

    async fn partitions(&self, _env: &Env, out: &mut Listing<RowsRead>) -> Result<()> {
        out.add_all(self.partitions.iter().map(|(p, _)| p.clone()).collect()).await
    }

    async fn read(
        &self,
        _env: &Env,
        partition: &Partition,
        from: Option<RowsRead>,
        out: &mut Emitter<Rows<T>, RowsRead>,
    ) -> Result<StopReason> {
        let rows = self.partitions.iter().find(|(p, _)| p.id == partition.id).map_or(&[][..], |(_, rows)| rows);
        let mut at = from.map_or(0, |p| p.0);
        for chunk in rows.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default().chunks(self.batch) {
            at += chunk.len() as u64;
            out.emit(Rows(chunk.to_vec()), &RowsRead(at)).await?;
        }
        Ok(StopReason::Exhausted(Proof::EndOfInput))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::conformance::SourceTrial;
    use std::collections::BTreeMap;

    struct Numbers;

    #[async_trait]
    impl SourceTrial for Numbers {
        type Source = IterSource<u64>;

        fn source(&self) -> IterSource<u64> {
            IterSource::new(1..=10).with_partition("more", 11..=12).with_partition("none", []).with_batch(3)
        }

        fn records(&self, item: &Rows<u64>) -> Vec<String> {
            item.0.iter().map(u64::to_string).collect()
        }

        async fn all(&self) -> BTreeMap<String, Vec<String>> {
            let texts =
                |id: &str, numbers: std::ops::Range<u64>| (id.to_owned(), numbers.map(|n| n.to_string()).collect());
            BTreeMap::from([texts("all", 1..11), texts("more", 11..13), texts("none", 0..0)])
        }

        fn is_exact(&self) -> bool {
            true
        }

        fn secrets(&self) -> Vec<String> {
            Vec::new() // it asks nobody
        }

        async fn refused(&self) -> Option<IterSource<u64>> {
            None // so nobody refuses it
        }
    }

    crate::source_conformance!(Numbers);
}
