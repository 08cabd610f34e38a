//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::record::{Record, RecordKind, seal};
use super::{ChainId, CheckpointStore, StoreCheckpoints};
use crate::error::Result;
use crate::model::{Incarnation, Timestamp};
use crate::store::{ObjectPath, Store};
use bytes::Bytes;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

fn chain() -> ChainId {
    ChainId::named("fuzz").expect("a name")
}

/// A chain record that is read is written as it was read; one that was written is read, and any other bit of it is damage.
pub(crate) fn record(bytes: &[u8]) -> Result<()> {
    let payload = Bytes::copy_from_slice(bytes);
    let record = Record {
        number: NUMBER,
        kind: RecordKind::Data,
        incarnation: Incarnation("fuzz".to_owned()),
        generation: 1,
        nonce: String::new(),
        parent: Some(Record::digest(bytes)),
        newest_data: None,
        written_at: Timestamp::from_micros(0),
        payload: payload.clone(),
    };
    let stored = record.encode(&chain())?;
    assert_eq!(Record::decode(&chain(), NUMBER, &stored)?, record);
    let mut damaged = stored.to_vec();
    let (hash, len) = (xxh3_64(bytes) as usize, damaged.len());
    if let Some(byte) = damaged.get_mut(hash / 8 % len) {
        *byte ^= 1 << (hash % 8);
    }
    assert!(Record::decode(&chain(), NUMBER, &damaged.into()).is_err(), "a changed bit is not seen");
    assert!(Record::decode(&chain(), NUMBER, &stored.slice(..hash % len)).is_err(), "a cut is not seen");

    // Once as they are, and once behind the checksum, which no fuzzer finds.
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    let read = |stored: Bytes| {
        let record = Record::decode(&chain(), NUMBER, &stored)?;
        let again = record.encode(&chain())?;
        assert_eq!(Record::decode(&chain(), NUMBER, &again)?, record);
        Ok(())
    };
    read(sealed.into()).or_else(|_| read(payload))
}

/// A step of the boundary that is read says a boundary, which can be moved on. It is read from the place that it names.
pub(crate) async fn boundary(bytes: &[u8]) -> Result<()> {
    let said: Option<Value> = serde_json::from_slice(bytes).ok();
    let number = said.and_then(|step| step.get("step")?.as_u64()).unwrap_or(1);
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    let mut read = Ok(());
    // The sealed one last: it is the one that can be read.
    for stored in [bytes.to_vec(), sealed] {
        let store = Store::memory();
        let path = ObjectPath::parse("chains/fuzz/boundary")?.join(&format!("{number:020}"))?;
        store.put(&path, stored.into()).await?;
        let checkpoints = StoreCheckpoints::new(&store, "chains")?;
        read = match checkpoints.boundary(&chain()).await {
            Ok(boundary) => checkpoints.advance_boundary(&chain(), boundary.saturating_add(1)).await,
            Err(e) => Err(e),
        };
    }
    read
}

const NUMBER: u64 = 7;
