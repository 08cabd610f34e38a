use crate::error::{Error, Result};
use crate::model::{PartitionId, PipelineName, Reject, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A rejected record as it is kept: one line of an NDJSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedRecord {
    /// The pipeline that refused it.
    pub pipeline: PipelineName,
    /// The shard that refused it.
    pub shard: u32,
    /// The epoch that it belongs to.
    pub epoch: u64,
    /// The stage that refused it.
    pub stage: String,
    /// A short stable word for the reason.
    pub code: String,
    /// What is wrong, for a person.
    pub reason: String,
    /// The partition it was read for, where known.
    pub partition: Option<PartitionId>,
    /// The segment that it was landed in, where it was landed.
    pub segment: Option<u64>,
    /// Its number within that segment.
    pub record: Option<u64>,
    /// Its first byte in the body of its page, where known.
    pub span_start: Option<u32>,
    /// Its length in the body of its page, where known.
    pub span_len: Option<u32>,
    /// When its page was received, where known.
    pub received_at: Option<Timestamp>,
    /// Its exact bytes.
    pub raw: Bytes,
}

const FORMAT: u32 = 1;

/// The line. Flat, so that any query engine can read it. `raw` is the record's bytes if they are UTF-8.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    format: u32,
    pipeline: Cow<'a, PipelineName>,
    shard: u32,
    epoch: u64,
    stage: Cow<'a, str>,
    code: Cow<'a, str>,
    reason: Cow<'a, str>,
    partition: Option<Cow<'a, PartitionId>>,
    segment: Option<u64>,
    record: Option<u64>,
    span_start: Option<u32>,
    span_len: Option<u32>,
    received_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Appends the line of a rejected record to `out`. The same reject gives the same bytes.
pub(super) fn encode(
    pipeline: &PipelineName,
    shard: u32,
    epoch: u64,
    stage: &str,
    reject: &Reject,
    out: &mut Vec<u8>,
) -> Result<()> {
    let text = std::str::from_utf8(&reject.raw).ok();
    let line = Line {
        format: FORMAT,
        pipeline: Cow::Borrowed(pipeline),
        shard,
        epoch,
        stage: Cow::Borrowed(stage),
        code: Cow::Borrowed(reject.code),
        reason: Cow::Borrowed(&reject.reason),
        partition: reject.partition.as_ref().map(Cow::Borrowed),
        segment: reject.origin.map(|o| o.segment),
        record: reject.origin.map(|o| o.record),
        span_start: reject.span.map(|s| s.start),
        span_len: reject.span.map(|s| s.len),
        received_at: reject.received_at,
        raw: text.map(Cow::Borrowed),
        raw_base64: text.is_none().then(|| BASE64.encode(&reject.raw)),
    };
    serde_json::to_writer(&mut *out, &line)
        .map_err(|e| Error::bug("quarantine record", "the record does not serialise").with_source(e))?;
    out.push(b'\n');
    Ok(())
}

impl QuarantinedRecord {
    /// Reads one line.
    ///
    /// # Errors
    /// `Corrupt` if it cannot be read, `Config` if it is of a newer format.
    pub fn decode(line: &[u8]) -> Result<Self> {
        let broken = |e| Error::corrupt("read quarantine", "not a quarantined record").with_source(e);
        let Format { format } = serde_json::from_slice(line).map_err(broken)?;
        if format != FORMAT {
            return Err(Error::config("read quarantine", "written in a format that this version does not know")
                .with("format", format)
                .with_hint("use a newer version of landfall"));
        }
        let line: Line<'_> = serde_json::from_slice(line).map_err(broken)?;
        let raw = match (line.raw, line.raw_base64) {
            (Some(text), None) => Bytes::from(text.into_owned()),
            (None, Some(text)) => BASE64
                .decode(text)
                .map_err(|e| Error::corrupt("read quarantine", "the record's bytes are damaged").with_source(e))?
                .into(),
            _ => return Err(Error::corrupt("read quarantine", "not exactly one of raw and raw_base64")),
        };
        Ok(Self {
            pipeline: line.pipeline.into_owned(),
            shard: line.shard,
            epoch: line.epoch,
            stage: line.stage.into_owned(),
            code: line.code.into_owned(),
            reason: line.reason.into_owned(),
            partition: line.partition.map(Cow::into_owned),
            segment: line.segment,
            record: line.record,
            span_start: line.span_start,
            span_len: line.span_len,
            received_at: line.received_at,
            raw,
        })
    }
}
