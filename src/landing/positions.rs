//! Where each partition stands: what moved in every segment, and all of it in some segments, so that recovery reads a
//! bounded number of manifests. Written description: docs/formats.md, "Positions snapshot".

use super::Landing;
use super::manifest::{self, Manifest, Place, SnapshotRef, read_versioned};
use crate::checkpoint::Record;
use crate::checkpoint::chain::Chain;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{PartitionId, PositionValue, ShardKey};
use crate::store::{ObjectPath, Store};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// All positions are written with a segment when as many bytes of them have moved as there are: few partitions are in
/// every segment, and many cost at most twice. After this many segments they are written in any case.
const SNAPSHOT_AFTER: u64 = 64;

/// Positions larger than this go to an object of their own. Tests reach it with few.
const INLINE_BYTES: usize = if cfg!(test) { 16 << 10 } else { 1 << 20 };

/// The format of that object.
const FORMAT: u32 = 1;

pub(super) type Positions = BTreeMap<PartitionId, PositionValue>;

/// An object with all positions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotObject<P> {
    format: u32,
    shard: ShardKey,
    segment: u64,
    positions: P,
}

/// Where each partition stands, and how far back that is written down.
#[derive(Debug)]
pub(super) struct PositionLog {
    shard: ShardKey,
    store: Store,
    /// The landing's folder of snapshot objects.
    folder: ObjectPath,
    all: Arc<Positions>,
    /// The number of the newest segment with all positions; 0 if there is none.
    base: u64,
    /// The size of all positions in `base`.
    base_bytes: usize,
    /// Segments after `base`.
    since: u64,
    /// The size of the positions that moved in them.
    moved_bytes: usize,
}

impl PositionLog {
    /// Reads the positions back, from the newest segment to the newest one that has them all.
    ///
    /// # Errors
    /// `Corrupt` if one of these segments, or the object that one refers to, is missing or damaged.
    pub(super) async fn recover(
        landing: &Landing,
        shard: &ShardKey,
        chain: &Chain,
        newest: Option<Record>,
    ) -> Result<Self> {
        let mut log = Self {
            shard: shard.clone(),
            store: landing.store.clone(),
            folder: landing.folder("positions", shard),
            all: Arc::default(),
            base: 0,
            base_bytes: 0,
            since: 0,
            moved_bytes: 0,
        };
        let mut deltas: Vec<Positions> = Vec::new();
        let mut next = newest;
        while let Some(record) = next {
            let place = Place { shard, segment: record.number };
            let (manifest, _) = manifest::parse(&record.payload, place)?;
            if deltas.is_empty() {
                log.base = manifest.base;
            }
            if manifest.base != log.base || record.number < log.base {
                return Err(place.damaged("segments disagree about where all positions are"));
            }
            if record.number == log.base {
                let (all, bytes) = log.snapshot(&manifest, place).await?;
                (log.all, log.base_bytes) = (Arc::new(all), bytes);
                break;
            }
            log.moved_bytes += manifest.positions.get().len();
            deltas.push(manifest::parse_kept(&manifest.positions, place)?);
            next = match record.newest_data {
                Some(number) => Some(chain.read(number).await?),
                None if log.base == 0 => None,
                None => return Err(place.damaged("no segment has all positions")),
            };
        }
        log.since = deltas.len() as u64;
        for delta in deltas.into_iter().rev() {
            log.moved(delta);
        }
        Ok(log)
    }

    /// Where each partition stands.
    pub(super) fn all(&self) -> &Positions {
        &self.all
    }

    /// The number of the newest segment with all positions; 0 if there is none. What is before it is not needed here.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Notes that partitions moved.
    pub(super) fn moved(&mut self, delta: Positions) {
        Arc::make_mut(&mut self.all).extend(delta);
    }

    /// Says in the manifest of segment `number`, which is written next, where all positions are; writes them down if it
    /// is time to.
    ///
    /// # Errors
    /// Those of the store, if it has refused the snapshot for 64 segments after it had to be written.
    pub(super) async fn describe(&mut self, env: &Env, number: u64, manifest: &mut Manifest) -> Result<()> {
        self.since += 1;
        self.moved_bytes += manifest.positions.get().len();
        if self.since >= SNAPSHOT_AFTER || self.moved_bytes >= self.base_bytes {
            match self.write(env, number, manifest).await {
                Ok(bytes) => {
                    (self.base, self.base_bytes, self.since, self.moved_bytes) = (number, bytes, 0, 0);
                }
                Err(e)
                    if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Ambiguous)
                        && self.since < 2 * SNAPSHOT_AFTER =>
                {
                    tracing::warn!(shard = %self.shard, error = %e, "positions are written with the next segment");
                }
                Err(e) => return Err(e),
            }
        }
        manifest.base = self.base;
        Ok(())
    }

    /// Writes all positions down; returns their size.
    async fn write(&self, env: &Env, number: u64, manifest: &mut Manifest) -> Result<usize> {
        let all = Arc::clone(&self.all);
        let unfit = |e| Error::bug("write positions", "positions do not serialise").with_source(e);
        let text = env.cpu("write positions", move || to_raw_value(all.as_ref())).await?.map_err(unfit)?;
        let size = text.get().len();
        if size < INLINE_BYTES {
            manifest.snapshot = Some(text);
            return Ok(size);
        }
        let object = SnapshotObject { format: FORMAT, shard: self.shard.clone(), segment: number, positions: text };
        let write = move || serde_json::to_vec(&object).map(|bytes| (hex_sha256(&bytes), bytes));
        let (sha256, bytes) = env.cpu("write positions", write).await?.map_err(unfit)?;
        let name = format!("{number:020}-{}.json", sha256.get(..16).unwrap_or_default());
        let path = self.folder.join(&name)?;
        // The name follows from the content, so replacing is the same as creating.
        self.store.put(&path, bytes.into()).await?;
        manifest.snapshot_at = Some(SnapshotRef { name, sha256 });
        Ok(size)
    }

    /// The positions that a segment says are all, and their size.
    async fn snapshot(&self, manifest: &Manifest, place: Place<'_>) -> Result<(Positions, usize)> {
        let at = match (&manifest.snapshot, &manifest.snapshot_at) {
            (Some(inline), None) => return Ok((manifest::parse_kept(inline, place)?, inline.get().len())),
            (None, Some(at)) => at,
            _ => return Err(place.damaged("a segment should have all positions, and has not")),
        };
        let path = self.folder.join(&at.name)?;
        let damaged = |message| place.damaged(message).with("object", &path);
        let bytes = self.store.get(&path, None).await?;
        let bytes = bytes.ok_or_else(|| damaged("the object with all positions is missing"))?;
        if hex_sha256(&bytes) != at.sha256 {
            return Err(damaged("the object with all positions fails its checksum"));
        }
        let object: SnapshotObject<Positions> = read_versioned("read positions", &path, &bytes, FORMAT)?;
        if &object.shard != place.shard || object.segment != place.segment {
            return Err(damaged("the object with all positions belongs to another segment"));
        }
        Ok((object.positions, bytes.len()))
    }

    /// Deletes snapshot objects of segments before `base`. What a listing misses is deleted another time.
    pub(super) async fn collect(&self) -> Result<()> {
        for object in self.store.list(&self.folder).await? {
            let number = object.path.file_name().get(..20).and_then(|digits| digits.parse::<u64>().ok());
            if number.is_some_and(|number| number < self.base) {
                self.store.delete(&object.path).await?;
            }
        }
        Ok(())
    }
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes any text");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Validity;

    #[test]
    fn the_frozen_snapshot_is_what_is_written_and_read() {
        const FROZEN: &[u8] = include_bytes!("../../tests/fixtures/positions-snapshot-1.json").trim_ascii_end();
        let path = ObjectPath::parse("raw/orders/positions/0000/x.json").expect("a valid name");
        let object: SnapshotObject<Positions> = read_versioned("read positions", &path, FROZEN, FORMAT).expect("reads");
        let of = |partition: &str| &object.positions[&PartitionId(partition.into())];
        assert_eq!((object.segment, object.shard.to_string().as_str()), (9, "orders/0000"));
        assert_eq!(of("eu").value, serde_json::json!({ "after": "c3e8" }));
        assert_eq!(of("eu").validity, Validity::ShortLived { until: None });
        assert_eq!((of("us").value.as_u64(), of("us").validity), (Some(7), Validity::Durable));
        assert_eq!(serde_json::to_vec(&object).expect("serialises"), FROZEN);
    }
}
