//! The frame of a chain's record: who wrote it, what it follows, and checksums. Format: docs/formats.md, "Chain record".

use super::ChainId;
use crate::defects::{Defect, on};
use crate::error::{Error, Result};
use crate::model::{Incarnation, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// It carries an epoch or a segment.
    Data,
    /// It carries nothing: a new owner shuts the old one out.
    Fence,
}

/// A record of a chain, verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// What it is for.
    pub kind: RecordKind,
    /// The life of the chain.
    pub incarnation: Incarnation,
    /// The owner's generation.
    pub generation: u64,
    /// Random, drawn by the owner when it took the chain: tells one writer's record from another's.
    pub nonce: String,
    /// SHA-256 of the record before, in hexadecimal digits; `None` for number 1.
    pub parent: Option<String>,
    /// The newest data record before this one; `None` if there is none.
    pub newest_data: Option<u64>,
    /// When it was written, by the writer's clock: for people.
    pub written_at: Timestamp,
    /// What it carries; empty for a fence.
    pub payload: Bytes,
}

/// The first line of a stored record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    #[serde(borrow)]
    chain: Cow<'a, str>,
    number: u64,
    kind: RecordKind,
    incarnation: Incarnation,
    generation: u64,
    nonce: String,
    parent: Option<String>,
    newest_data: Option<u64>,
    written_at: Timestamp,
    payload_len: u64,
    payload_sha256: String,
}

/// The one field that every version of the first line has.
#[derive(Deserialize)]
struct Format<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
}

impl Record {
    /// The newest data record up to and with this one.
    pub fn newest_data_with_self(&self) -> Option<u64> {
        match self.kind {
            RecordKind::Data => Some(self.number),
            RecordKind::Fence => self.newest_data,
        }
    }

    /// The bytes to store. The payload is copied once.
    ///
    /// # Errors
    /// `Config` if the first line would be larger than a reader accepts; `Bug` if the record contradicts itself.
    pub fn encode(&self, chain: &ChainId) -> Result<Bytes> {
        let refuse = |message| Err(in_place(Error::bug(ENCODE, message), chain, self.number));
        if self.number == 0 || (self.number == 1) != self.parent.is_none() {
            return refuse("numbers start at 1, and every record but the first names its parent");
        }
        if self.kind == RecordKind::Fence && !self.payload.is_empty() {
            return refuse("a fence carries nothing");
        }
        if Timestamp::parse(&self.written_at.to_string()).ok() != Some(self.written_at) {
            return refuse("the clock is outside of the years that can be written");
        }
        let header = serde_json::to_vec(&Header {
            format: Cow::Owned(format!("{FORMAT}{VERSION}")),
            chain: Cow::Borrowed(chain.as_str()),
            number: self.number,
            kind: self.kind,
            incarnation: self.incarnation.clone(),
            generation: self.generation,
            nonce: self.nonce.clone(),
            parent: self.parent.clone(),
            newest_data: self.newest_data,
            written_at: self.written_at,
            payload_len: self.payload.len() as u64,
            payload_sha256: Self::digest(&self.payload),
        })
        .map_err(|e| {
            in_place(Error::bug(ENCODE, "its first line cannot be written").with_source(e), chain, self.number)
        })?;
        if header.len() > MAX_HEADER {
            return Err(in_place(Error::config(ENCODE, "its first line is too large"), chain, self.number)
                .with_hint("give the chain a shorter name"));
        }
        let mut out = Vec::with_capacity(header.len() + 1 + self.payload.len() + TRAILER);
        out.extend_from_slice(&header);
        out.push(b'\n');
        out.extend_from_slice(&self.payload);
        seal(&mut out);
        Ok(out.into())
    }

    /// Reads a stored record and verifies its checksums, its format, its chain and its number. The payload is a slice of
    /// `bytes`, not a copy.
    ///
    /// # Errors
    /// `Corrupt`, naming chain and number, if anything does not fit; `Config` if the format is newer than this crate.
    pub fn decode(chain: &ChainId, number: u64, bytes: &Bytes) -> Result<Self> {
        let corrupt = |message: &'static str| {
            in_place(Error::corrupt(DECODE, message), chain, number).with("bytes", bytes.len()).with_hint(WAY_OUT)
        };
        let body =
            unseal(bytes).ok_or_else(|| corrupt("the record is damaged or cut off: its checksum does not fit"))?;
        let line = body.iter().take(MAX_HEADER + 1).position(|b| *b == b'\n');
        let (line, rest) = line.and_then(|at| Some((body.get(..at)?, at + 1))).ok_or_else(|| corrupt(NO_HEADER))?;
        let unread = |e| corrupt(NO_HEADER).with_source(e);
        let format: Format<'_> = serde_json::from_slice(line).map_err(unread)?;
        check_format(
            &format.format,
            FORMAT,
            VERSION,
            || in_place(Error::config(DECODE, NEWER), chain, number),
            || corrupt("the record has a format that was never written"),
        )?;
        let header: Header<'_> = serde_json::from_slice(line).map_err(unread)?;
        if header.chain != chain.as_str() || header.number != number {
            return Err(corrupt("the record was written for another place")
                .with("written_for", format!("{} {}", header.chain, header.number)));
        }
        let payload = bytes.slice(rest..body.len());
        if header.payload_len != payload.len() as u64 || header.payload_sha256 != Self::digest(&payload) {
            return Err(corrupt("the payload is not what the first line says"));
        }
        let fence = header.kind == RecordKind::Fence;
        if (number == 1) != header.parent.is_none()
            || header.newest_data >= Some(number)
            || (fence && !payload.is_empty())
        {
            return Err(corrupt("the record contradicts itself"));
        }
        Ok(Self {
            number,
            kind: header.kind,
            incarnation: header.incarnation,
            generation: header.generation,
            nonce: header.nonce,
            parent: header.parent,
            newest_data: header.newest_data,
            written_at: header.written_at,
            payload,
        })
    }

    /// SHA-256 of stored bytes, in hexadecimal digits: what the next record names as its parent.
    pub fn digest(bytes: &[u8]) -> String {
        format!("{:x}", Sha256::digest(bytes))
    }
}

/// Closes an object of ours: a last line with the CRC-32C of everything before it.
pub(super) fn seal(out: &mut Vec<u8>) {
    let crc = crc32c::crc32c(out);
    out.extend_from_slice(trailer(crc).as_bytes());
}

/// What was sealed; `None` if a bit of it is not what it was.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (body, last) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER)?)?;
    (last == trailer(crc32c::crc32c(body)).as_bytes() || on(Defect::ChecksumIsNotVerified)).then_some(body)
}

/// How many bytes the record has that begins with these, by its first line; `None` if that does not say it.
pub(super) fn stored_len(begin: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Length {
        payload_len: u64,
    }
    let line = begin.iter().take(MAX_HEADER + 1).position(|b| *b == b'\n')?;
    let Length { payload_len } = serde_json::from_slice(begin.get(..line)?).ok()?;
    payload_len.checked_add((line + 1 + TRAILER) as u64)
}

/// Accepts `<name><version>` up to `version`.
pub(super) fn check_format(
    found: &str,
    name: &str,
    version: u64,
    newer: impl FnOnce() -> Error,
    unknown: impl FnOnce() -> Error,
) -> Result<()> {
    match found.strip_prefix(name).and_then(|v| v.parse::<u64>().ok()) {
        Some(v) if v > version && !on(Defect::NewerFormatIsRead) => Err(newer()
            .with("format", found)
            .with_hint("a newer version of landfall has written here: upgrade this one")),
        Some(v) if v >= version => Ok(()),
        _ => Err(unknown().with("format", found.escape_debug())),
    }
}

fn trailer(crc: u32) -> String {
    format!("\ncrc32c={crc:08x}\n")
}

fn in_place(error: Error, chain: &ChainId, number: u64) -> Error {
    error.with("chain", chain).with("record", number)
}

const ENCODE: &str = "write chain record";
const DECODE: &str = "read chain record";
const FORMAT: &str = "landfall-record/";
const VERSION: u64 = 1;
/// Bytes that the first line may have.
const MAX_HEADER: usize = 16 << 10;
const TRAILER: usize = "\ncrc32c=00000000\n".len();
/// Bytes that a record has besides its payload, at most: the first line and what closes it, rounded up.
pub(super) const FRAME: u64 = 17 << 10;
const NO_HEADER: &str = "the record has no readable first line";
const NEWER: &str = "the record has a format that this version does not know";
/// What an operator does about a damaged record. Never: delete it and go on with the one before.
pub(super) const WAY_OUT: &str = "stop the pipeline and restore this object from a copy or a backup; do not delete it: \
     going on from an older record would write the same epochs twice";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    fn chain() -> ChainId {
        ChainId::named("orders/checkpoints/0000").expect("a name")
    }

    fn sample(payload: &'static [u8]) -> Record {
        Record {
            number: 7,
            kind: RecordKind::Data,
            incarnation: Incarnation("00112233445566778899aabbccddeeff".to_owned()),
            generation: 3,
            nonce: "ffeeddccbbaa99887766554433221100".to_owned(),
            parent: Some(Record::digest(b"the record before")),
            newest_data: Some(5),
            written_at: Timestamp::from_micros(1_700_000_000_123_456),
            payload: Bytes::from_static(payload),
        }
    }

    /// A sealed record whose first line was changed by hand.
    fn with_line(from: &str, to: &str) -> Bytes {
        let stored = sample(b"payload").encode(&chain()).expect("encodes");
        let text = String::from_utf8(stored.to_vec()).expect("text");
        let (body, _) = text.rsplit_once("\ncrc32c=").expect("a trailer");
        assert!(body.contains(from), "{body}");
        let mut changed = body.replacen(from, to, 1).into_bytes();
        seal(&mut changed);
        changed.into()
    }

    #[test]
    fn any_changed_byte_is_detected() {
        let stored = sample(b"{\"epoch\":1}").encode(&chain()).expect("encodes");
        for at in 0..stored.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut damaged = stored.to_vec();
                damaged[at] ^= flip;
                let error = Record::decode(&chain(), 7, &damaged.into()).expect_err("a changed byte");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
            }
        }
    }

    #[test]
    fn any_truncation_is_detected_even_if_the_payload_holds_a_record() {
        let inner = sample(b"inner").encode(&chain()).expect("encodes");
        let outer = Record { payload: inner, ..sample(b"") }.encode(&chain()).expect("encodes");
        for len in 0..outer.len() {
            let error = Record::decode(&chain(), 7, &outer.slice(..len)).expect_err("cut off");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "length {len}: {error}");
        }
    }

    #[test]
    fn damage_names_the_chain_the_record_and_the_way_out() {
        let error = Record::decode(&chain(), 7, &Bytes::from_static(b"nonsense")).expect_err("nonsense");
        let text = error.to_string();
        assert!(text.contains("chain=`orders/checkpoints/0000`") && text.contains("record=`7`"), "{text}");
        assert!(text.contains("restore this object"), "{text}");
    }

    #[test]
    fn a_newer_format_asks_for_an_upgrade_even_with_fields_unknown_here() {
        let newer = with_line("{\"format\":\"landfall-record/1\",", "{\"format\":\"landfall-record/2\",\"new\":[1],");
        let error = Record::decode(&chain(), 7, &newer).expect_err("newer");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("landfall-record/2") && error.to_string().contains("upgrade"), "{error}");
    }

    #[test]
    fn a_record_in_another_place_or_of_an_unknown_format_is_refused() {
        let stored = sample(b"payload").encode(&chain()).expect("encodes");
        let other = ChainId::named("orders/checkpoints/0001").expect("a name");
        for (chain, number) in [(&chain(), 8), (&other, 7)] {
            let error = Record::decode(chain, number, &stored).expect_err("elsewhere");
            assert!(error.to_string().contains("orders/checkpoints/0000 7"), "{error}");
        }
        for (from, to) in [
            ("landfall-record/1", "landfall-record/0"),
            ("landfall-record/1", "something/1"),
            ("\"payload_len\":7", "\"payload_len\":6"),
            ("\"newest_data\":5", "\"newest_data\":7"),
            ("\"kind\":\"data\"", "\"kind\":\"fence\""),
            ("\"kind\":\"data\"", "\"kind\":\"data\",\"extra\":1"),
            ("\n", ""),
        ] {
            let error = Record::decode(&chain(), 7, &with_line(from, to)).expect_err("does not fit");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn the_longest_first_line_is_written_and_read() {
        let shortest = sample(b"").encode(&chain()).expect("encodes").iter().position(|b| *b == b'\n').expect("a line");
        let of = |line: usize| {
            let mut record = sample(b"payload");
            record.nonce.push_str(&"x".repeat(line - shortest));
            record
        };
        let longest = of(MAX_HEADER);
        let stored = longest.encode(&chain()).expect("it may be so long");
        assert_eq!(Record::decode(&chain(), 7, &stored).expect("it is read"), longest);
        let error = of(MAX_HEADER + 1).encode(&chain()).expect_err("nobody would read it");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }

    #[test]
    fn the_search_for_the_first_line_is_bounded() {
        let mut endless = vec![b' '; MAX_HEADER + 1];
        endless.extend_from_slice(b"{}\n");
        seal(&mut endless);
        assert_eq!(Record::decode(&chain(), 7, &endless.into()).expect_err("no line").kind(), ErrorKind::Corrupt);
        let long = ChainId::named(&vec!["x".repeat(200); 100].join("/")).expect("a name");
        assert_eq!(sample(b"").encode(&long).expect_err("too long").kind(), ErrorKind::Config);
    }

    #[test]
    fn a_record_that_could_not_be_read_back_is_not_written() {
        let eternal = Record { written_at: Timestamp::from_micros(i64::MAX), ..sample(b"") };
        let orphan = Record { parent: None, ..sample(b"") };
        let loaded = Record { kind: RecordKind::Fence, ..sample(b"x") };
        for record in [eternal, orphan, loaded] {
            assert_eq!(record.encode(&chain()).expect_err("unreadable").kind(), ErrorKind::Bug);
        }
    }

    #[test]
    fn reads_a_record_written_by_version_1() {
        let stored = Bytes::from_static(include_bytes!("../../tests/fixtures/chain-record-v1.rec"));
        let record = Record::decode(&chain(), 7, &stored).expect("a frozen record is readable for ever");
        assert_eq!(record, sample(b"{\"epoch\":1,\"note\":\"frozen\"}\nsecond line\n"));
        assert_eq!(record.encode(&chain()).expect("encodes"), stored, "the bytes of version 1 do not change");
    }

    proptest! {
        #[test]
        fn round_trip(
            number in 1u64..,
            data in any::<bool>(),
            generation in any::<u64>(),
            newest in proptest::option::of(any::<u64>()),
            micros in -60_000_000_000_000_000i64..250_000_000_000_000_000,
            payload in proptest::collection::vec(any::<u8>(), 0..512),
        ) {
            let record = Record {
                number,
                kind: if data { RecordKind::Data } else { RecordKind::Fence },
                generation,
                parent: (number > 1).then(|| Record::digest(&payload)),
                newest_data: newest.filter(|n| *n < number),
                written_at: Timestamp::from_micros(micros),
                payload: if data { payload.into() } else { Bytes::new() },
                ..sample(b"")
            };
            let stored = record.encode(&chain()).expect("encodes");
            prop_assert_eq!(Record::decode(&chain(), number, &stored).expect("decodes"), record);
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..256), sealed in any::<bool>()) {
            if sealed {
                seal(&mut bytes);
            }
            prop_assert!(Record::decode(&chain(), 7, &bytes.into()).is_err());
        }
    }
}
