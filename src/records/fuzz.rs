//! What holds of the decoders here, whatever bytes they are given; see [`testkit::decoders`](crate::testkit::decoders).

use super::{RecordsPath, Splitter};
use crate::error::Result;
use crate::json::{self, ElementPath, Query, ValuePath};
use crate::model::{Part, Span};
use bytes::Bytes;

/// The first byte says the path, the second how the body comes.
const PATHS: &[&str] = &[
    "$[*]",
    "$.data[*]",
    "$.data.*",
    "$.a[1].b[*]",
    "$.data",
    "$..a",
    "$.data[?@.x > 1]",
    "$.data[*].items[*]",
    "ndjson",
    "csv",
    r#"csv{"delimiter":";","quote":"'","columns":["a","b"],"nulls":["-"]}"#,
    r#"csv{"quote":null}"#,
    "/feed/entry",
    "/r/i[@k='v']",
];

/// The records of a body lie inside of it, in order and apart; and they are the same whatever the pieces that the body comes in, and
/// the parts that it is cut into.
pub(crate) fn records(bytes: &[u8]) -> Result<()> {
    let [path, way, body @ ..] = bytes else { return Ok(()) };
    let path = RecordsPath::parse(PATHS.get(usize::from(*path) % PATHS.len()).copied().unwrap_or_default())?;
    let (wanted, size) = (usize::from(way >> 4) * 4 + 1, usize::from(way & 15) + 1);
    let (parts, rest) = cut(&path, body, wanted, size)?;
    let (same, same_rest) = cut(&path, body, wanted, body.len().max(1))?;
    assert_eq!((&parts, &rest), (&same, &same_rest), "the parts depend on the pieces");
    let all: Vec<&Bytes> = parts.iter().chain([&rest.body]).collect();
    assert_eq!(all.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>(), body);

    let found = |body: &[u8]| path.found_in(body).map(|path| path.into_owned());
    let whole = found(body).and_then(|path| Ok((path.scan(body, &[])?.spans, path)));
    if let Ok((spans, path)) = &whole {
        check(body, spans);
        decode(path, body, spans);
    }
    if parts.is_empty() {
        return whole.map(drop);
    }
    let first = found(all.first().copied().map(|part| part.as_ref()).unwrap_or_default());
    let in_parts = first.and_then(|path| {
        let mut records = Vec::new();
        for (index, part) in (0..).zip(&all) {
            let last = index as usize == parts.len();
            let spans = path.spans(part, Some(Part { response: 1, index, last }))?;
            records.extend(spans.iter().map(|span| span.of(part).unwrap_or_default().to_vec()));
        }
        if let Some(envelope) = &rest.envelope {
            path.scan(envelope, &[])?;
        }
        Ok(records)
    });
    match (whole, in_parts) {
        (Ok((spans, _)), Ok(parts)) => {
            let texts: Vec<_> = spans.iter().map(|span| span.of(body).unwrap_or_default().to_vec()).collect();
            assert_eq!(parts, texts, "the parts have other records than the whole");
        }
        (Ok(_), Err(error)) => panic!("a body that is whole is not in parts: {error}"),
        // Of lines and rows each stands for itself.
        (Err(error), Ok(_)) if !path.needs_known_end() => panic!("a body that is none is one in parts: {error}"),
        (Err(error), _) => return Err(error),
    }
    Ok(())
}

fn cut(path: &RecordsPath, body: &[u8], wanted: usize, size: usize) -> Result<(Vec<Bytes>, json::Rest)> {
    let mut splitter = Splitter::new(path, &[], wanted, 0);
    let mut parts = Vec::new();
    for piece in body.chunks(size) {
        splitter.push(Bytes::copy_from_slice(piece));
        while let Some(part) = splitter.take_part()? {
            parts.push(part);
        }
    }
    splitter.end();
    while let Some(part) = splitter.take_part()? {
        parts.push(part);
    }
    Ok((parts, splitter.finish()))
}

fn check(body: &[u8], spans: &[Span]) {
    let mut end = 0;
    for span in spans {
        assert!(span.start >= end && span.of(body).is_some(), "{span:?} after {end} in {} bytes", body.len());
        end = span.start + span.len;
    }
}

/// What is no JSON becomes JSON, or is refused.
fn decode(path: &RecordsPath, body: &[u8], spans: &[Span]) {
    let Some(mut texts) = path.text_records() else { return };
    for span in spans {
        let mut out = Vec::new();
        if texts.write_json(span.of(body).unwrap_or_default(), &mut out).is_ok() {
            serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("JSON");
        }
    }
}

/// A path that is read is the same when it is written and read again. It finds values in any text.
pub(crate) fn paths(bytes: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    // What follows a line end is a record to be looked into.
    let (text, record) = text.split_once('\n').unwrap_or((text, "{\"a\":[1,{\"b\":\"c\"}]}"));
    let read = RecordsPath::parse(text).map(|path| {
        assert_eq!(RecordsPath::parse(path.as_str()).expect("its own text"), path);
        path.scan(record.as_bytes(), &[]).map(drop)
    });
    let value = ValuePath::field(text).and_then(|path| {
        let found = json::field(record.as_bytes(), &path)?;
        assert!(found.is_none_or(|found| found.len() <= record.len()));
        json::scan(record.as_bytes(), &Query::parse("$")?, &[path]).map(drop)
    });
    let element = ElementPath::parse(text).map(|path| {
        assert_eq!(ElementPath::parse(path.as_str()).expect("its own text"), path);
    });
    read.and_then(|scanned| scanned).or(value).or(element)
}
