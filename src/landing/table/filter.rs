use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// Tells of most keys that a run does not have them, without reading it: a Bloom filter of ten bits for each key, in which one
/// of a hundred keys that are not there seems to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter(Vec<u64>);

const BITS_PER_KEY: u64 = 10;
/// Bits that are set for each key.
const PROBES: u64 = 7;

/// What a filter and a lookup know of a key.
pub(super) fn key_hash(key: &str) -> u64 {
    xxh3_64(key.as_bytes())
}

impl Filter {
    /// A filter with room for so many keys, and none in it.
    pub(super) fn for_keys(keys: u64) -> Self {
        let words = keys.saturating_mul(BITS_PER_KEY).div_ceil(64);
        Self(vec![0; usize::try_from(words).unwrap_or(0)])
    }

    /// Takes up the key with this hash.
    pub(super) fn insert(&mut self, hash: u64) {
        for (word, bit) in probes(hash, self.0.len()) {
            if let Some(word) = self.0.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// Whether the key with this hash may be there; if not, it is not.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        probes(hash, self.0.len()).all(|(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0))
    }
}

/// The places of a key: a word and a bit in it. Double hashing: both halves of one hash are as good as seven hashes.
fn probes(hash: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let bits = (words as u64).saturating_mul(64).max(1);
    let step = hash.rotate_left(32) | 1;
    (0..PROBES).map(move |n| {
        let at = hash.wrapping_add(n.wrapping_mul(step)) % bits;
        (usize::try_from(at / 64).unwrap_or(usize::MAX), 1 << (at % 64))
    })
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        let mut words = Vec::with_capacity(bytes.len() / 8);
        let mut rest = bytes.as_slice();
        while let Some((word, after)) = rest.split_first_chunk::<8>() {
            words.push(u64::from_le_bytes(*word));
            rest = after;
        }
        if rest.is_empty() { Ok(Self(words)) } else { Err(serde::de::Error::custom("a filter is cut off")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_few_others_are() {
        for keys in [0, 1, 3, 1_000, 20_000_u64] {
            let hashes: Vec<u64> = (0..keys).map(|n| key_hash(&format!("pcustomer-{n}"))).collect();
            let mut filter = Filter::for_keys(keys);
            hashes.iter().for_each(|hash| filter.insert(*hash));
            assert!(hashes.iter().all(|hash| filter.may_have(*hash)), "{keys}");
            let others = (0..10_000).filter(|n| filter.may_have(key_hash(&format!("pother-{n}")))).count();
            assert!(others < if keys < 10 { 500 } else { 200 }, "{others} of 10,000 beside {keys}");
            let text = serde_json::to_string(&filter).expect("text");
            assert_eq!(serde_json::from_str::<Filter>(&text).expect("a filter"), filter);
        }
        assert!(serde_json::from_str::<Filter>("\"AAAA\"").is_err());
    }
}
