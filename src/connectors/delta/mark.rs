//! The mark of a shard as `txn` actions: the only current state of a table that every writer of Delta keeps, through
//! checkpoints too. A `txn` holds one number, so the mark takes several. Format: docs/formats.md, "Delta mark".

use super::actions::Txn;
use crate::error::{Error, Result};
use crate::model::{Incarnation, ShardKey};
use crate::sink::Mark;
use std::collections::BTreeMap;

/// Bytes of text in one number: they leave it positive.
const BYTES: usize = 7;

/// The id of the `txn` whose version is the epoch.
pub(super) fn app_id(shard: &ShardKey) -> String {
    format!("landfall/{}/{:04}", shard.pipeline, shard.shard)
}

/// The `txn` actions that hold `mark`.
pub(super) fn encode(shard: &ShardKey, mark: &Mark, at_millis: i64) -> Result<Vec<Txn>> {
    let refuse = || Error::bug("write delta mark", "the mark does not fit").with("shard", shard);
    let number = |n: u64| i64::try_from(n).map_err(|_| refuse());
    let id = app_id(shard);
    let mut bytes = Vec::new();
    for text in [&mark.incarnation.0, &mark.digest] {
        pack(text, &mut bytes).ok_or_else(refuse)?;
    }
    let words = bytes.chunks(BYTES).enumerate().map(|(i, chunk)| {
        let mut word = [0; 8];
        word.iter_mut().skip(1).zip(chunk).for_each(|(to, from)| *to = *from);
        (format!("{id}/mark/{i}"), i64::from_be_bytes(word))
    });
    let numbers = [(id.clone(), number(mark.epoch)?), (format!("{id}/generation"), number(mark.generation)?)];
    let txn = |(app_id, version)| Txn { app_id, version, last_updated: Some(at_millis) };
    Ok(numbers.into_iter().chain(words).map(txn).collect())
}

/// The mark that a table with these `txn` versions holds for `shard`.
///
/// # Errors
/// `Corrupt` if a part of it is gone.
pub(super) fn decode(shard: &ShardKey, txns: &BTreeMap<String, Txn>) -> Result<Option<Mark>> {
    let id = app_id(shard);
    let version = |id: &str| txns.get(id).map(|txn| txn.version);
    let Some(epoch) = version(&id) else { return Ok(None) };
    let broken = || {
        Error::corrupt("read delta mark", "the mark of the shard is not whole").with("shard", shard).with_hint(
            "something else changed the `txn` actions of this application; restore the table to a version before",
        )
    };
    let number = |n: i64| u64::try_from(n).map_err(|_| broken());
    let generation = number(version(&format!("{id}/generation")).ok_or_else(broken)?)?;
    let words = (0..).map_while(|i| version(&format!("{id}/mark/{i}")));
    let bytes: Vec<u8> = words.flat_map(|word| word.to_be_bytes().into_iter().skip(1)).collect();
    let (incarnation, rest) = unpack(&bytes).ok_or_else(broken)?;
    let (digest, _) = unpack(rest).ok_or_else(broken)?;
    Ok(Some(Mark { incarnation: Incarnation(incarnation), generation, epoch: number(epoch)?, digest }))
}

/// Appends a text: its length in bytes and whether it was hexadecimal, in one byte, and its bytes.
fn pack(text: &str, to: &mut Vec<u8>) -> Option<()> {
    let hex = text.len() % 2 == 0 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let bytes: Vec<u8> = if hex {
        let digits: Vec<u8> = text.bytes().filter_map(|b| char::from(b).to_digit(16)).map(|d| d as u8).collect();
        digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
    } else {
        text.into()
    };
    let length = u8::try_from(bytes.len()).ok().filter(|n| *n < 128)?;
    to.push(length << 1 | u8::from(hex));
    to.extend(bytes);
    Some(())
}

/// The text at the beginning, and what follows it.
fn unpack(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (head, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(head >> 1))?;
    let text = if head & 1 == 1 {
        text.iter().map(|byte| format!("{byte:02x}")).collect()
    } else {
        String::from_utf8(text.to_vec()).ok()?
    };
    Some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PipelineName;

    fn shard() -> ShardKey {
        ShardKey { pipeline: PipelineName::new("orders").expect("valid"), shard: 3 }
    }

    fn stored(mark: &Mark) -> BTreeMap<String, Txn> {
        let txns = encode(&shard(), mark, 5).expect("fits");
        txns.into_iter().map(|txn| (txn.app_id.clone(), txn)).collect()
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let incarnation = "0f".repeat(16);
        for (incarnation, digest) in
            [(incarnation.as_str(), "c0ffee00".repeat(8)), ("life", "odd".into()), ("", "é".into())]
        {
            let mark = Mark { incarnation: Incarnation(incarnation.into()), generation: 7, epoch: 1 << 40, digest };
            let txns = stored(&mark);
            assert!(txns.values().all(|txn| txn.version >= 0) && txns.len() <= 10, "{txns:?}");
            assert_eq!(decode(&shard(), &txns).expect("whole"), Some(mark));
        }
        assert_eq!(decode(&shard(), &BTreeMap::new()).expect("none"), None);
    }

    #[test]
    fn a_shorter_mark_after_a_longer_one_is_not_mixed_with_it() {
        let mark = |digest: &str| Mark {
            incarnation: Incarnation("a".into()),
            generation: 1,
            epoch: 1,
            digest: digest.into(),
        };
        let mut txns = stored(&mark(&"0a".repeat(60)));
        txns.extend(stored(&mark("0b")));
        assert_eq!(decode(&shard(), &txns).expect("whole"), Some(mark("0b")));
    }

    #[test]
    fn a_mark_of_which_a_part_is_gone_is_damage() {
        let mark = Mark { incarnation: Incarnation("ab".repeat(16)), generation: 1, epoch: 1, digest: "cd".repeat(32) };
        for gone in ["generation", "mark/0", "mark/3"] {
            let mut txns = stored(&mark);
            txns.remove(&format!("landfall/orders/0003/{gone}")).expect("is there");
            assert_eq!(decode(&shard(), &txns).expect_err(gone).kind(), crate::error::ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_text_that_a_mark_has_no_room_for_is_refused() {
        let mark = |length: usize| Mark {
            incarnation: Incarnation("life".into()),
            generation: 1,
            epoch: 1,
            digest: "x".repeat(length),
        };
        assert_eq!(decode(&shard(), &stored(&mark(127))).expect("whole"), Some(mark(127)));
        let error = encode(&shard(), &mark(128), 5).expect_err("too long");
        assert_eq!(error.kind(), crate::error::ErrorKind::Bug);
    }
}
