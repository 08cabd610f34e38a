//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::{Quarantine, QuarantinedRecord, record};
use crate::error::Result;
use crate::model::{LandingPosition, PartitionId, PipelineName, Reject, Span, Timestamp};
use crate::store::{ObjectPath, Store};
use bytes::Bytes;

/// A record comes back with its exact bytes, on one line; and of anything else lines are read or refused.
pub(crate) async fn quarantine(bytes: &[u8]) -> Result<()> {
    let mut reject = Reject::new("fuzz", String::from_utf8_lossy(bytes), bytes.to_vec());
    reject.partition = Some(PartitionId(String::from_utf8_lossy(bytes).into_owned()));
    reject.origin = Some(LandingPosition { segment: 1, record: 2 });
    reject.span = Some(Span { start: 3, len: 4 });
    reject.received_at = Some(Timestamp::from_micros(5));
    let mut line = Vec::new();
    record::encode(&PipelineName::new("fuzz")?, 0, 1, "decode", &reject, &mut line)?;
    assert_eq!(line.iter().position(|b| *b == b'\n'), Some(line.len() - 1));
    let back = QuarantinedRecord::decode(&line)?;
    assert_eq!((back.raw, back.reason, back.partition), (reject.raw, reject.reason, reject.partition));

    let store = Store::memory();
    let name = ObjectPath::parse("quarantine/fuzz-0000-00000000000000000001.ndjson")?;
    store.put(&name, Bytes::copy_from_slice(bytes)).await?;
    Quarantine::in_store(&store, "quarantine")?.read_all().await.map(drop)
}
