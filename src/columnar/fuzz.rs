//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::{Batch, ColumnType, Columns, Decode, Dedup, Latest};
use crate::error::{Error, Result};
use crate::model::{Page, PartitionId, Timestamp};
use crate::records::RecordsPath;
use crate::stage::{Output, Stage, StageState};
use bytes::Bytes;

/// The records of a page become one row or one refusal each. The first byte says where they lie.
pub(crate) fn decode(bytes: &[u8]) -> Result<()> {
    const PATHS: &[&str] = &["$[*]", "ndjson", r#"csv{"columns":["id","a"]}"#, "/r/i"];
    let Some((path, body)) = bytes.split_first() else { return Ok(()) };
    let path = PATHS.get(usize::from(*path) % PATHS.len()).copied().unwrap_or_default();
    let declared = Columns::parse([
        ("id", "int64"),
        ("a", "utf8(text)"),
        ("t", "timestamp(ns)"),
        ("d", "decimal(38,6)"),
        ("f", "float64"),
        ("l", "list<struct<x: uint64, y: date>>"),
        ("j", "json"),
    ])?;
    let spans = RecordsPath::parse(path)?.spans(body, None)?;
    for decode in [Decode::pages().schema(declared), Decode::pages().infer_from(3), Decode::pages().infer()] {
        let mut decode = decode.records(path).max_record_bytes(1 << 10);
        let page = Page::new(PartitionId::from("p"), body.to_vec(), spans.len() as u64, Timestamp::default());
        let mut rows: Vec<Batch> = Vec::new();
        for _ in 0..2 {
            let mut out = Output::new();
            decode.apply(page.clone(), &mut out)?;
            let (batches, rejects, _) = out.into_parts();
            let count: usize = batches.iter().map(Batch::num_rows).sum();
            assert_eq!(count + rejects.len(), spans.len(), "a record is not accounted for");
            assert!(rejects.iter().all(|reject| !reject.reason.contains(char::is_control)), "{rejects:?}");
            if rows.is_empty() {
                rows = batches;
            } else {
                let same = rows.iter().map(Batch::rows).eq(batches.iter().map(Batch::rows));
                assert!(same, "another time other rows");
            }
        }
        // What was decided is the same after a restart.
        if let Some(state) = decode.state() {
            let kept = state.base()?;
            state.restore(vec![kept.clone()])?;
            assert_eq!(state.base()?, kept);
        }
    }
    Ok(())
}

/// Columns that were kept are the same when they are kept again; so are types as text.
pub(crate) fn columns(bytes: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let kind = text.parse::<ColumnType>().map(|kind| {
        assert_eq!(kind.to_string().parse::<ColumnType>().expect("its own text"), kind);
    });
    let mut decode = Decode::pages().infer();
    let restored = decode.restore(vec![Bytes::copy_from_slice(bytes)]);
    if restored.is_ok() {
        let kept = decode.base()?;
        decode.restore(vec![kept.clone()])?;
        assert_eq!(decode.base()?, kept);
    }
    restored.or(kind)
}

/// What a deduplication knows is the same when it is kept and read again.
pub(crate) fn dedup(bytes: &[u8]) -> Result<()> {
    let mut read = Err(Error::corrupt("restore dedup", "nothing is read"));
    for mut dedup in [Dedup::by(["id"]), Dedup::by(["id"]).keep(Latest::of("v"))] {
        let restored = dedup.restore(vec![Bytes::copy_from_slice(bytes)]);
        if restored.is_ok() {
            let (keys, kept) = (dedup.keys(), dedup.base()?);
            dedup.restore(vec![kept.clone()])?;
            assert_eq!((dedup.keys(), dedup.base()?), (keys, kept));
        }
        read = read.or(restored);
    }
    read
}

/// A value in the name of a folder is one segment below it, and the same when it is read back.
#[cfg(feature = "parquet")]
pub(crate) fn partition(bytes: &[u8]) -> Result<()> {
    use super::files::partition::{NULL, segment};
    use crate::store::{ObjectPath, fuzz::unescape};
    let value = String::from_utf8_lossy(bytes);
    let name = segment(Some(&value));
    assert_eq!(name == NULL, value.is_empty());
    if name != NULL {
        assert_eq!(unescape(&name), value.as_bytes());
    }
    let path = ObjectPath::parse("data")?.join(&format!("c={name}"))?;
    assert_eq!(path.as_str(), format!("data/c={name}"));
    Ok(())
}
