//! The frame of a chain's record: who wrote it, what it follows, and checksums. Format: docs/formats.md, "Chain record".

use super::ChainId;
use crate::error::Result;
use crate::model::{Incarnation, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Random; tells one writer's record from another's.
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

impl Record {
    /// The bytes to store.
    pub fn encode(&self, _chain: &ChainId) -> Result<Bytes> {
        todo!()
    }

    /// Reads a stored record and verifies its checksum, its format, its chain and its number.
    ///
    /// # Errors
    /// `Corrupt`, naming chain and number, if anything does not fit; `Config` if the format is newer than this crate.
    pub fn decode(_chain: &ChainId, _number: u64, _bytes: &Bytes) -> Result<Self> {
        todo!()
    }

    /// SHA-256 of stored bytes, in hexadecimal digits: what the next record names as its parent.
    pub fn digest(_bytes: &[u8]) -> String {
        todo!()
    }
}
