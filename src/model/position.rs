use super::Timestamp;
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// How long a position can be used to go on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Validity {
    /// It survives time: a keyset value, a window, a finished slice.
    #[default]
    Durable,
    /// An opaque token that the server forgets at some time (at `until`, if that is known).
    ShortLived {
        /// When the server forgets it, if known.
        until: Option<Timestamp>,
    },
    /// It counts rows or pages of a listing that may change: going on from it may skip or repeat rows.
    Unstable,
}

/// Where a partition stands: the source's own type.
pub trait Position: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static {
    /// How long this position can be used to go on from.
    fn validity(&self) -> Validity;
}

/// A position as it is kept in manifests and checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PositionValue {
    /// The source's own value.
    pub value: serde_json::Value,
    /// How long it can be used.
    #[serde(default)]
    pub validity: Validity,
    /// Whether the last read that ended here ended without proof.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

impl PositionValue {
    /// The position `value`, of a read that goes on or has ended with proof.
    pub fn new(value: impl Into<serde_json::Value>, validity: Validity) -> Self {
        Self { value: value.into(), validity, unproven: false }
    }

    /// Keeps a source's position.
    ///
    /// # Errors
    /// `Bug` if the position does not serialise to JSON.
    pub fn keep(position: &impl Position) -> Result<Self> {
        let value = serde_json::to_value(position)
            .map_err(|e| Error::bug("keep position", "the source's position does not serialise").with_source(e))?;
        Ok(Self::new(value, position.validity()))
    }

    /// Gives the source's position back.
    ///
    /// # Errors
    /// `Config` if the kept value is not a position of this source: the source's type changed.
    pub fn restore<P: Position>(&self) -> Result<P> {
        P::deserialize(&self.value).map_err(|e| {
            Error::config("restore position", "the kept position does not fit this source")
                .with_hint("the source changed since the last run; start over under a new pipeline name with an empty destination")
                .with_source(e)
        })
    }
}
