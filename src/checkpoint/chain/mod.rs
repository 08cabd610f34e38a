//! The protocol above a [`CheckpointStore`]: ownership by fences, create with doubt resolved, collection that cannot
//! un-fence.
//!
//! A chain has records 1, 2, 3 … without gaps; each names the digest of the one before. An owner takes a chain over by
//! writing an empty *fence* with a higher generation at its end, and then appends. Whoever fails to create the next number
//! has lost. No lock, no clock and no complete listing is needed for safety; the decisions are the pure functions of
//! [`decide`].
//!
//! ```
//! use landfall::checkpoint::chain::Chain;
//! use landfall::checkpoint::{ChainId, MemoryCheckpoints};
//! use landfall::env::Env;
//! use std::sync::Arc;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let store = Arc::new(MemoryCheckpoints::default());
//! let id = ChainId::named("orders/notes")?;
//! let mut old = Chain::open(store.clone(), id.clone(), Env::system()).await?.chain;
//! assert_eq!(old.append("first".into()).await?, 2); // number 1 is the fence
//!
//! let new = Chain::open(store, id, Env::system()).await?;
//! assert_eq!(new.newest_data.map(|record| record.number), Some(2));
//! assert!(old.append("second".into()).await.is_err()); // fenced
//! # Ok::<_, landfall::Error>(())
//! # }).unwrap();
//! ```

mod access;
mod collect;
pub mod decide;
mod probe;
mod reader;
mod walk;

#[cfg(test)]
mod tests;

pub use probe::probe;
pub use reader::ChainReader;

use self::access::{Access, Settled};
use self::decide::{Claim, Place, Slot, Standing};
use self::walk::Head;
use super::record::WAY_OUT;
use super::{ChainId, CheckpointStore, Record, RecordKind};
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Incarnation;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A chain that this process owns until somebody fences it out.
#[derive(Debug)]
pub struct Chain {
    access: Access,
    env: Env,
    claim: Claim,
    /// The newest record, without its payload.
    head: Head,
    condition: Condition,
    /// Whether the last collection came to its end: if not, something may be left of it.
    swept: AtomicBool,
}

/// What [`Chain::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// The chain, owned.
    pub chain: Chain,
    /// The newest data record, if there is any.
    pub newest_data: Option<Record>,
}

/// Whether a chain may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Sound,
    /// An append runs, or was dropped on its way.
    Appending,
    /// An append failed.
    Failed(ErrorKind),
}

impl Chain {
    /// Takes the chain over: walks to its end, verifies what it uses, and writes a fence with a higher generation. A chain
    /// that does not exist begins with this fence, and gets a new incarnation.
    ///
    /// # Errors
    /// `Corrupt` if the chain is damaged: nothing was written then. `Config` if it was written by a newer version. `Fenced`
    /// if another owner takes it at the same time. `Ambiguous` if the store's answers leave it open who won.
    ///
    /// # Cancellation
    /// May be dropped at any await; a fence may be left behind, which shuts older owners out.
    pub async fn open(store: Arc<dyn CheckpointStore>, id: ChainId, env: Env) -> Result<Opened> {
        let access = Access { store, id, env: Some(env.clone()) };
        let (mut head, mut newest_data) = access.find_head_and_data().await?;
        let claim = Claim {
            generation: decide::next_generation(head.as_ref().map(|h| &h.record)).ok_or_else(|| {
                access.corrupt(head.as_ref().map_or(0, |h| h.record.number), "the chain has no generations left")
            })?,
            nonce: env.nonce(),
        };
        if let Some(head) = head.clone().filter(|_| on(Defect::OwnersWriteNoFence)) {
            return Ok(Opened { chain: Self::owned(access, env, claim, head), newest_data });
        }
        loop {
            let Place { number, parent, newest_data: newest } = place_after(&access, head.as_ref())?;
            let fence = Record {
                number,
                kind: RecordKind::Fence,
                incarnation: match &head {
                    Some(head) => head.record.incarnation.clone(),
                    None => Incarnation(env.nonce()),
                },
                generation: claim.generation,
                nonce: claim.nonce.clone(),
                parent,
                newest_data: newest,
                written_at: env.now(),
                payload: Bytes::new(),
            };
            let bytes = fence.encode(&access.id)?;
            match access.create(fence.number, &bytes).await? {
                Settled::Mine => {
                    if !on(Defect::FenceBelowBoundary) {
                        counts(&access, fence.number).await?;
                    }
                    let head = Head { record: fence, digest: Record::digest(&bytes) };
                    return Ok(Opened { chain: Self::owned(access, env, claim, head), newest_data });
                }
                Settled::Lost(theirs) => {
                    // A leftover in a place that was collected must not be stepped over.
                    counts(&access, fence.number).await?;
                    let theirs = taken(&access, &claim, head.as_ref(), fence.number, theirs).await?;
                    if theirs.record.kind == RecordKind::Data {
                        newest_data = Some(theirs.record.clone());
                    }
                    head = Some(theirs);
                }
            }
        }
    }

    fn owned(access: Access, env: Env, claim: Claim, head: Head) -> Self {
        Self { access, env, claim, head, condition: Condition::Sound, swept: AtomicBool::new(false) }
    }

    /// Writes the next data record; returns its number. After an error the chain must be dropped and opened anew: every
    /// further call fails in the same way.
    ///
    /// # Errors
    /// `Fenced` if another owner has taken over; `Ambiguous` if the store's answers leave the outcome open. After either the
    /// record may be part of the chain nevertheless: recovery decides. `Corrupt` if the number holds a record that cannot
    /// be there. Any other kind is the store's, and nothing was written.
    ///
    /// # Cancellation
    /// If it is dropped the outcome is open, and the chain can only be dropped.
    pub async fn append(&mut self, payload: Bytes) -> Result<u64> {
        self.sound()?;
        self.condition = Condition::Appending;
        let done = self.append_next(payload).await;
        self.condition = match &done {
            Ok(_) => Condition::Sound,
            Err(e) => Condition::Failed(e.kind()),
        };
        done
    }

    /// What an error that came up under this owner is: what a newer owner has moved on or collected looks like damage to
    /// an older one, so `Corrupt` becomes `Fenced` where the chain has gone on without this owner. Any other stays.
    pub async fn explain(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Corrupt {
            return error;
        }
        match self.check_owned().await {
            Err(fenced) if fenced.kind() == ErrorKind::Fenced => fenced.with_source(error),
            _ => error,
        }
    }

    /// The number that the next record will have.
    pub fn next_number(&self) -> u64 {
        self.head.record.number.saturating_add(1)
    }

    /// This owner's generation.
    pub fn generation(&self) -> u64 {
        self.claim.generation
    }

    /// The life of the chain.
    pub fn incarnation(&self) -> &Incarnation {
        &self.head.record.incarnation
    }

    /// The number of the newest data record.
    pub fn newest_data(&self) -> Option<u64> {
        self.head.record.newest_data_with_self()
    }

    /// Reads a data or fence record of this chain.
    ///
    /// # Errors
    /// `Corrupt` if a record above the boundary is missing or damaged, or if the record was collected.
    pub async fn read(&self, number: u64) -> Result<Record> {
        let missing = || self.access.corrupt(number, "the record is missing").with_hint(WAY_OUT);
        self.access.read(number).await?.ok_or_else(missing)
    }

    /// Deletes records up to `through`, but never the newest data record or what follows it: the boundary first,
    /// then the records, oldest first. Returns how many deletions were made. What a crash has left is deleted the next time.
    ///
    /// # Errors
    /// The store's; and as [`append`](Self::append) once that has failed: an owner in doubt deletes nothing.
    ///
    /// # Cancellation
    /// May be dropped at any await: call it again.
    pub async fn collect(&self, through: u64) -> Result<u64> {
        self.sound()?;
        let swept = self.swept.swap(false, Ordering::Relaxed);
        let deleted = self.access.collect(through, self.newest_data(), !swept).await?;
        self.swept.store(true, Ordering::Relaxed);
        Ok(deleted)
    }

    async fn append_next(&mut self, payload: Bytes) -> Result<u64> {
        let Place { number, parent, newest_data } = place_after(&self.access, Some(&self.head))?;
        let mut record = Record {
            number,
            kind: RecordKind::Data,
            incarnation: self.head.record.incarnation.clone(),
            generation: self.claim.generation,
            nonce: self.claim.nonce.clone(),
            parent,
            newest_data,
            written_at: self.env.now(),
            payload,
        };
        let id = self.access.id.clone();
        let encode = move || {
            let bytes = record.encode(&id)?;
            record.payload = Bytes::new();
            let digest = Record::digest(&bytes);
            Ok::<_, Error>((bytes, Head { record, digest }))
        };
        let (bytes, head) = self.env.blocking("write chain record", encode).await??;
        match self.access.create(number, &bytes).await? {
            Settled::Mine => counts(&self.access, number).await?,
            Settled::Lost(theirs) => {
                taken(&self.access, &self.claim, Some(&self.head), number, theirs).await?;
                return Err(self.access.corrupt(number, STRANGER).with_hint(WAY_OUT));
            }
        }
        self.head = head;
        Ok(number)
    }

    async fn check_owned(&self) -> Result<()> {
        let number = self.next_number();
        if let Some(bytes) = self.access.read_raw(number).await? {
            // An append of this owner in doubt may have written it.
            if Record::decode(&self.access.id, number, &bytes)?.nonce != self.claim.nonce {
                return Err(fenced(&self.access, number));
            }
        }
        counts(&self.access, number).await
    }

    fn sound(&self) -> Result<()> {
        let kind = match self.condition {
            Condition::Sound => return Ok(()),
            Condition::Appending => ErrorKind::Ambiguous,
            Condition::Failed(kind) => kind,
        };
        Err(Error::new(kind, "use chain", "an earlier append failed or was dropped")
            .with("chain", &self.access.id)
            .with_hint("drop this chain and open it again"))
    }
}

/// Rule 4: fails if record `number` lies in a place that collection has emptied, whoever wrote it.
async fn counts(access: &Access, number: u64) -> Result<()> {
    let boundary = access.boundary().await.map_err(|e| access.unknown(number, Some(e)))?;
    match decide::standing(number, boundary) {
        Standing::Holds => Ok(()),
        Standing::Lost if on(Defect::FencesAreCollected) => Ok(()),
        Standing::Lost => Err(fenced(access, number).with("boundary", boundary)),
    }
}

/// Rule 3: what it means that number `number` after `head` is taken by `theirs`. The record, if it may be stepped over.
async fn taken(access: &Access, claim: &Claim, head: Option<&Head>, number: u64, theirs: Bytes) -> Result<Head> {
    let theirs = access.head(number, theirs).await?;
    if let Err(broken) = decide::follows(head.map(Head::link), &theirs.record) {
        return Err(access.corrupt(number, broken.as_str()).with_hint(WAY_OUT));
    }
    let generation = theirs.record.generation;
    match decide::slot(claim, &Claim { generation, nonce: theirs.record.nonce.clone() }) {
        Slot::TakeAsHead => Ok(theirs),
        Slot::Lost => Err(fenced(access, number).with("owner_generation", generation)),
        Slot::Mine => Err(access.corrupt(number, STRANGER).with_hint(WAY_OUT)),
    }
}

fn fenced(access: &Access, number: u64) -> Error {
    Error::new(ErrorKind::Fenced, "own chain", "another owner has taken the chain over")
        .with("chain", &access.id)
        .with("record", number)
        .with_hint("this instance must stop; the other one goes on")
}

fn place_after(access: &Access, head: Option<&Head>) -> Result<Place> {
    decide::place_after(head.map(Head::link)).ok_or_else(|| access.corrupt(u64::MAX, "the chain has no numbers left"))
}

const STRANGER: &str = "a record is there that nobody but this owner could have written, and it did not";
