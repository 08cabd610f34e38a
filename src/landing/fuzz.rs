//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::accounts::AccountRows;
use super::block::{self, Codec, Packer};
use super::manifest::{self, Base, Manifest, Place};
use super::table::fuzz as table;
use super::{Compression, Landing, Retention, coverage, segment};
use crate::env::Env;
use crate::error::Result;
use crate::model::{Coverage, Incarnation, LandingPosition, LoadCounts, PipelineName, PositionValue, ShardKey};
use crate::store::{ObjectPath, Store};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("fuzz").expect("a name"), shard: 0 }
}

/// A segment that is read holds its pages, and these are read again when they are written again.
pub(crate) async fn segment(env: &Env, bytes: &[u8]) -> Result<()> {
    let bare = Bytes::copy_from_slice(bytes);
    // Once as they are, and once as a manifest behind its checksum and what follows it: two bytes say where it ends.
    let framed = match bytes.split_first_chunk::<2>() {
        Some((length, rest)) => {
            let (text, blocks) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
            let length = u32::try_from(text.len()).unwrap_or_default().to_le_bytes();
            [b"LFSG\x01\0\0\0", &length[..], &xxh3_64(text).to_le_bytes(), text, blocks].concat().into()
        }
        None => bare.clone(),
    };
    match segment_again(env, framed).await {
        Ok(()) => Ok(()),
        Err(_) => segment_again(env, bare).await,
    }
}

async fn segment_again(env: &Env, payload: Bytes) -> Result<()> {
    let shard = shard();
    let place = Place { shard: &shard, segment: 7 };
    let (manifest, blocks) = manifest::parse(&payload, place)?;
    let moved = manifest.moved(place)?;
    let empty = Manifest { totals: Default::default(), blocks: Vec::new(), pages: Vec::new(), ..manifest.clone() };
    let pages = segment::decode(env, place, &payload, manifest, blocks).await?;
    let packer = Arc::new(Packer::new(Compression::Lz4));
    let (again, _) = segment::encode(env, &packer, pages.clone(), empty).await?;
    let (manifest, blocks) = manifest::parse(&again, place)?;
    let texts =
        |rows: super::table::Rows| -> Vec<_> { rows.into_iter().map(|(k, v)| (k, v.get().to_owned())).collect() };
    assert_eq!(texts(manifest.moved(place)?), texts(moved));
    let back = segment::decode(env, place, &again, manifest, blocks).await?;
    assert_eq!(format!("{back:?}"), format!("{pages:?}"));
    Ok(())
}

/// A block is unpacked to as many bytes as were said, or not at all; and what was packed is.
pub(crate) fn block(bytes: &[u8]) -> Result<()> {
    let whole = Bytes::copy_from_slice(bytes);
    for compression in [Compression::Lz4, Compression::Zstd(1)] {
        let packed = Packer::new(compression).pack(vec![whole.clone()]);
        let raw = block::unpack(packed.codec, packed.pieces.concat().into(), packed.raw).expect("own block");
        assert_eq!(raw, whole);
    }
    let Some((claim, stored)) = bytes.split_first_chunk::<4>() else { return Ok(()) };
    let raw = u64::from(u32::from_le_bytes(*claim));
    for codec in [Codec::Plain, Codec::Lz4, Codec::Zstd] {
        if let Ok(unpacked) = block::unpack(codec, Bytes::copy_from_slice(stored), raw) {
            assert_eq!(unpacked.len() as u64, raw);
        }
    }
    Ok(())
}

/// A run of rows gives what was written, and of anything else nothing beyond its bytes.
pub(crate) async fn rows(bytes: &[u8]) -> Result<()> {
    table::run(bytes).await
}

/// Where all rows are is read as it was written.
pub(crate) fn base(bytes: &[u8]) -> Result<()> {
    let base: Base = json("read base", bytes)?;
    let rows: super::table::Rows = json("read base", base.rows.get().as_bytes())?;
    let again: super::table::Rows = json("read base", &serde_json::to_vec(&rows).expect("JSON"))?;
    assert_eq!(again.keys().collect::<Vec<_>>(), rows.keys().collect::<Vec<_>>());
    Ok(())
}

/// What is kept of positions, coverage and sums is the same when it is written and read again.
pub(crate) fn values(bytes: &[u8]) -> Result<()> {
    let read = same::<PositionValue>(bytes).or(same::<Coverage>(bytes));
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if let Ok((partition, window)) = coverage::of_key(text) {
        let key = coverage::key(&partition, window.as_ref())?;
        assert_eq!(coverage::of_key(&key)?, (partition, window));
    }
    read.or(same::<LoadCounts>(bytes)).or(same::<AccountRows>(bytes))
}

/// What loads have published is read, or refused.
pub(crate) async fn loads(env: &Env, bytes: &[u8]) -> Result<()> {
    let store = Store::memory();
    let folder = ObjectPath::parse("raw/fuzz/loads/0000")?;
    let retention = Retention::new(&Landing::in_store(&store, "raw")?, &shard(), env);
    let (etl, life) = (PipelineName::new("etl")?, Incarnation("0f0e0d0c0b0a09080706050403020100".to_owned()));
    let name = folder.join(&format!("etl-{life}.json"))?;
    store.put(&name, Bytes::copy_from_slice(bytes)).await?;
    let published = retention.publish(&etl, &life, LandingPosition::default()).await;
    store.delete(&name).await?;
    store.put(&folder.join("known/000001.json")?, Bytes::copy_from_slice(bytes)).await?;
    published.or(retention.retained().await.map(drop))
}

fn json<T: DeserializeOwned>(operation: &'static str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| crate::Error::corrupt(operation, "it does not parse").with_source(e))
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Result<()> {
    let value: T = json("read value", bytes)?;
    // What cannot be written is refused before it is.
    if let Ok(text) = manifest::keep(&value) {
        assert_eq!(json::<T>("read value", text.get().as_bytes())?, value);
    }
    Ok(())
}
