use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long and how large a response may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Limits {
    /// Until a connection stands, TLS included. 10 s.
    pub connect: Duration,
    /// Until the response begins, and then between two pieces of it. 60 s.
    pub idle: Duration,
    /// Until the response is complete; of one that is emitted in parts, until each part is. 5 min.
    pub total: Duration,
    /// Bytes of all headers of a response. 128 KiB.
    pub head: u32,
    /// Headers of a response. 100.
    pub headers: u32,
    /// Bytes of a body on the wire that is held as a whole. 256 MiB.
    pub wire: u64,
    /// Bytes of a body after decompression that is held as a whole; of one that is emitted in parts, of a record and of what
    /// is around the records. At most 4 GiB. 256 MiB.
    pub body: u64,
    /// How many times larger decompression may make a body. 1,000.
    pub ratio: u64,
    /// From how many bytes on a response is emitted in parts, each about that large: lines, rows, and JSON whose records are
    /// the elements or members at one place. 4 MiB.
    pub part: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(300),
            head: 128 << 10,
            headers: 100,
            wire: 256 << 20,
            body: 256 << 20,
            ratio: 1_000,
            part: 4 << 20,
        }
    }
}

impl Limits {
    /// Sets the longest time until a connection stands.
    #[must_use]
    pub fn with_connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Sets the longest silence.
    #[must_use]
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets the longest time until a response is complete.
    #[must_use]
    pub fn with_total(mut self, total: Duration) -> Self {
        self.total = total;
        self
    }

    /// Sets the largest head of a response: bytes and number of its headers.
    #[must_use]
    pub fn with_head(mut self, bytes: u32, headers: u32) -> Self {
        (self.head, self.headers) = (bytes, headers);
        self
    }

    /// Sets the largest body, in bytes, on the wire and decompressed.
    #[must_use]
    pub fn with_body(mut self, wire: u64, decompressed: u64) -> Self {
        (self.wire, self.body) = (wire, decompressed);
        self
    }

    /// Sets how many times larger decompression may make a body.
    #[must_use]
    pub fn with_ratio(mut self, ratio: u64) -> Self {
        self.ratio = ratio;
        self
    }

    /// Sets from how many bytes on a response is emitted in parts.
    #[must_use]
    pub fn with_part(mut self, bytes: u64) -> Self {
        self.part = bytes;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let zero = self.connect.is_zero() || self.idle.is_zero() || self.total.is_zero();
        let zero = zero || self.head == 0 || self.headers == 0;
        if zero || self.wire == 0 || self.body == 0 || self.part == 0 || self.ratio == 0 {
            return Err(Error::config("build source", "a limit of nothing lets nothing through"));
        }
        if u32::try_from(self.body).is_err() || u32::try_from(self.part).is_err() {
            return Err(Error::config("build source", "the limit of a body is 4 GiB at most"));
        }
        Ok(())
    }
}
