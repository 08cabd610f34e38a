use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a pipeline: 1 to 64 characters of `A-Z a-z 0-9 _ -`. Part of every object name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PipelineName(String);

impl PipelineName {
    /// # Errors
    /// `Config` if the name is empty, too long, or has other characters.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            return Err(Error::config("name pipeline", "a pipeline's name has 1 to 64 characters of A-Z a-z 0-9 _ -")
                .with("name", name));
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PipelineName {
    type Error = Error;
    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<PipelineName> for String {
    fn from(name: PipelineName) -> Self {
        name.0
    }
}

impl fmt::Display for PipelineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of a chain, made when its first record is written. "Start over" makes a new one, so old marks cannot collide.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub String);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The unit of ownership and of commit: one checkpoint chain, many partitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardKey {
    /// The pipeline it belongs to.
    pub pipeline: PipelineName,
    /// Its number, from 0.
    pub shard: u32,
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:04}", self.pipeline, self.shard)
    }
}

/// A place in the landing of one shard: everything before it has been consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LandingPosition {
    /// The segment to read next; the first is 1.
    pub segment: u64,
    /// Records of that segment that have been consumed.
    pub record: u64,
}

impl fmt::Display for LandingPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.record)
    }
}
