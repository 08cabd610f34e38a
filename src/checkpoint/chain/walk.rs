use super::access::{Access, Look};
use super::decide::{self, End, Standing};
use crate::checkpoint::record::WAY_OUT;
use crate::checkpoint::{Record, RecordKind};
use crate::error::{Error, Result};
use bytes::Bytes;

/// The newest record of a chain, verified, with its digest.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) record: Record,
    pub(super) digest: String,
}

impl Head {
    pub(super) fn link(&self) -> (&Record, &str) {
        (&self.record, &self.digest)
    }
}

impl Access {
    /// The end of the chain; `None` if nothing was ever written.
    pub(super) async fn find_head(&self) -> Result<Option<Head>> {
        for _ in 0..LOOKS {
            if let Look::Found(head) = self.walk().await? {
                return Ok(head);
            }
        }
        Err(self.moving())
    }

    /// The end of the chain, and the newest data record.
    pub(super) async fn find_head_and_data(&self) -> Result<(Option<Head>, Option<Record>)> {
        for _ in 0..LOOKS {
            let Some(head) = self.find_head().await? else { return Ok((None, None)) };
            if let Look::Found(data) = self.newest_data(&head).await? {
                return Ok((Some(head), data));
            }
        }
        Err(self.moving())
    }

    /// Whoever collects the chain goes on while it is looked at, again and again.
    fn moving(&self) -> Error {
        Error::unavailable("walk chain", "the chain is collected faster than it can be read").with("chain", &self.id)
    }

    async fn walk(&self) -> Result<Look<Option<Head>>> {
        let boundary = self.boundary().await?;
        let mut hint = self.patiently(|| self.store.numbers(&self.id)).await?;
        hint.sort_unstable();

        let first = decide::begin(boundary, &[]);
        let mut at = decide::begin(boundary, &hint);
        let mut found = self.read_raw(at).await?;
        if found.is_none() && at != first {
            // The hint names what is not there: do without it.
            at = first;
            found = self.read_raw(at).await?;
        }
        let mut head = None;
        if at != first {
            // Only the records that the hint did not name are looked for: the others were there when it was made.
            for number in decide::unlisted(boundary, &hint, at).into_iter().flatten() {
                if self.read_raw(number).await?.is_none() {
                    return self.missing(number, HOLE).await;
                }
            }
            head = match self.read_raw(at - 1).await? {
                Some(bytes) => Some(self.head(at - 1, bytes).await?),
                None => return self.missing(at - 1, HOLE).await,
            };
        }
        while let Some(bytes) = found {
            let next = self.head(at, bytes).await?;
            // The record before the first one above the boundary is gone, or does not count any more.
            if head.is_some() || at == 1 {
                if let Err(broken) = decide::follows(head.as_ref().map(Head::link), &next.record) {
                    // The one before may be a leftover in a place that was collected meanwhile.
                    let missing = decide::broken_link(at, boundary, self.boundary().await?);
                    return self.look(missing, at, broken.as_str());
                }
            }
            head = Some(next);
            at = at.checked_add(1).ok_or_else(|| self.corrupt(at, "the chain has no numbers left"))?;
            found = self.read_raw(at).await?;
        }
        for number in hint.into_iter().filter(|n| *n > at) {
            if self.read_raw(number).await?.is_some() {
                return self.missing(at, HOLE).await;
            }
        }
        let Some(head) = head else {
            return match decide::nothing_above(self.boundary().await?) {
                End::Empty => Ok(Look::Found(None)),
                End::Hollow => self.missing(at, HOLLOW).await,
            };
        };
        // An end that was collected while it was looked for is not the end.
        if decide::standing(head.record.number, self.boundary().await?) == Standing::Lost {
            return Ok(Look::Collected);
        }
        Ok(Look::Found(Some(head)))
    }

    async fn newest_data(&self, head: &Head) -> Result<Look<Option<Record>>> {
        let Some(number) = head.record.newest_data_with_self() else { return Ok(Look::Found(None)) };
        if number == head.record.number {
            return Ok(Look::Found(Some(head.record.clone())));
        }
        let Some(bytes) = self.read_raw(number).await? else {
            return self.missing(number, NO_DATA).await;
        };
        // What was read counts only if it lies above the boundary still.
        let boundary = self.boundary().await?;
        if decide::standing(number, boundary) == Standing::Lost {
            let successor = self.read_raw(head.record.number + 1).await?.is_some();
            return self.look(decide::passed_data(head.record.number, boundary, successor), number, PASSED);
        }
        let (data, _) = self.verify(number, bytes).await?;
        if data.kind != RecordKind::Data || data.incarnation != head.record.incarnation {
            return Err(self.corrupt(number, "the newest data record is not one").with_hint(WAY_OUT));
        }
        Ok(Look::Found(Some(data)))
    }

    pub(super) async fn head(&self, number: u64, bytes: Bytes) -> Result<Head> {
        let (record, digest) = self.verify(number, bytes).await?;
        Ok(Head { record, digest })
    }
}

const LOOKS: u32 = 8;
const HOLE: &str = "the record is missing, though there are later ones: the chain has a hole";
const HOLLOW: &str = "nothing is left above the boundary, though collection always leaves the newest data record";
const NO_DATA: &str = "the newest data record is missing";
const PASSED: &str = "the boundary has passed the newest data record";
