//! The content of a checkpoint, and the roll-forward of a prepared epoch. Format: docs/formats.md, "Checkpoint".

use super::abandoned::AbandonedEpoch;
use super::erased::AnySink;
use super::events::{Event, Events};
use crate::checkpoint::Record;
use crate::defects::{Defect, on};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::landing::AccountRows;
use crate::model::{EpochLedger, Incarnation, LandingPosition, PartitionId, PositionValue, ShardKey};
use crate::sink::{
    AtLeastOnce, CommitOutcome, CommitRequest, Demand, Enumeration, LoadEntry, Mark, MarkFit, Promise, Quarantine,
    QuarantineRef, Transactional, mark_fit,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::Instrument;

/// Where the input of a load stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InputPosition {
    /// In the landing.
    Landing(LandingPosition),
    /// In the source itself, where there is no landing.
    Source(BTreeMap<PartitionId, PositionValue>),
}

/// A part of a stage's state, by reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateRef {
    /// The stage's name.
    pub stage: String,
    /// The object's name.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

/// The staged output of an epoch, ready to be committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prepared {
    /// The epoch that the sink must hold before; `None` for the first.
    pub previous: Option<u64>,
    /// SHA-256 of `staged`, in hexadecimal digits.
    pub digest: String,
    /// What the sink needs to commit.
    pub staged: Value,
}

/// What the pipeline was configured to do when the epoch was prepared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ConfigRecord {
    /// What gives identity, by component. A change is refused.
    pub identity: BTreeMap<String, Value>,
    /// Everything else, by component. A change is recorded.
    pub settings: BTreeMap<String, Value>,
}

/// The quarantine among the components of a configuration.
pub(super) const QUARANTINE: &str = "quarantine";
/// What positions in the landing belong to, from its first segment on.
pub(super) const SOURCE: &str = "source";
pub(super) const SHARDS: &str = "shards";

impl ConfigRecord {
    /// Refuses a change of what gives identity.
    /// `begun` is whether anything was loaded: before, stages and sink have left nothing that a change could contradict.
    pub(super) fn check_identity(&self, now: &Self, begun: bool) -> Result<()> {
        let names = self.identity.keys().chain(now.identity.keys());
        for name in names.filter(|name| begun || [SOURCE, SHARDS].contains(&name.as_str())) {
            let (before, after) = (self.identity.get(name), now.identity.get(name).map(read_back));
            if before != after.as_ref() && !on(Defect::IdentityIsNotCompared) {
                let text = |v: Option<&Value>| v.map_or_else(|| "absent".to_owned(), Value::to_string);
                return Err(Error::config("open pipeline", "what gives identity has changed since the pipeline began")
                    .with("component", name)
                    .with("before", text(before))
                    .with("now", text(after.as_ref()))
                    .with_hint("put it back, or start over under a new pipeline name with an empty destination"));
            }
        }
        Ok(())
    }
}

/// The content of a checkpoint: everything that is needed to finish its epoch and to go on after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub format: String,
    pub config: ConfigRecord,
    pub input: InputPosition,
    /// The landing that the input was read from.
    pub landing: Option<Incarnation>,
    /// Parts of the stages' states, oldest first.
    pub state: Vec<StateRef>,
    pub prepared: Option<Prepared>,
    /// The newest epoch with output for the sink, this one included.
    pub marked: Option<u64>,
    pub quarantine: Option<QuarantineRef>,
    pub ledger: EpochLedger,
    /// What became of the records of each partition and window so far.
    #[serde(default)]
    pub accounts: AccountRows,
    /// The part that the epoch is of an enumeration, if the sink demands enumerations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enumeration: Option<Enumeration>,
    /// The newest epochs that were given up, oldest first; each checkpoint takes them over from the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<AbandonedEpoch>,
}

pub(super) const FORMAT: &str = "landfall-checkpoint/1";
/// Big parts go by reference. What remains are mostly names and statistics of staged files, of each table of a set: some
/// thousand, about 1 KiB each.
const MAX_BYTES: usize = 32 << 20;

impl Checkpoint {
    /// What is recorded before anything is loaded: the configuration, and where the input begins.
    pub(super) fn first(config: ConfigRecord, input: InputPosition) -> Self {
        Self {
            format: FORMAT.to_owned(),
            config,
            input,
            landing: None,
            state: Vec::new(),
            prepared: None,
            marked: None,
            quarantine: None,
            ledger: EpochLedger::default(),
            accounts: AccountRows::default(),
            enumeration: None,
            abandoned: Vec::new(),
        }
    }

    /// The epoch that it abandons as number `number` of its chain: then it has nothing else.
    pub(super) fn abandons(&self, number: u64) -> Option<&AbandonedEpoch> {
        self.abandoned.last().filter(|abandoned| abandoned.instead == number)
    }

    /// The enumeration that goes on after it.
    pub(super) fn enumeration_on(&self, demand: Demand) -> Option<Enumeration> {
        let enumeration = self.enumeration.filter(|_| demand == Demand::Enumerations)?;
        Some(Enumeration { whole: false, ..enumeration })
    }

    /// Refuses to roll forward into another quarantine than the one that the epoch's rejects are staged in: they would
    /// be left behind.
    pub(super) fn check_quarantine(&self, now: &ConfigRecord) -> Result<()> {
        let (before, now) = (self.config.settings.get(QUARANTINE), now.settings.get(QUARANTINE));
        if self.quarantine.is_none() || (now.is_some() && (before == now || before.is_none())) {
            return Ok(());
        }
        let text = |v: Option<&Value>| v.map_or_else(|| "absent".to_owned(), Value::to_string);
        Err(Error::config(
            "open pipeline",
            "the newest epoch has rejects in a quarantine that the pipeline does not have",
        )
        .with("before", text(before))
        .with("now", text(now))
        .with_hint("put the quarantine back; it can be changed after an epoch without rejects"))
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        let bytes = serde_json::to_vec(self)
            .map_err(|e| Error::bug("write checkpoint", "does not serialise").with_source(e))?;
        if bytes.len() > MAX_BYTES {
            let staged = self.prepared.as_ref().map_or(0, |prepared| prepared.staged.to_string().len());
            return Err(Error::config("write checkpoint", "over 32 MiB: what it names is too much for one epoch")
                .with("bytes", bytes.len())
                .with("staged", staged)
                .with_hint(
                    "if most of it is staged: partition by columns with fewer values, or put fewer tables into one set; else read \
                     fewer partitions without a landing",
                ));
        }
        Ok(bytes.into())
    }

    pub(super) fn decode(shard: &ShardKey, record: &Record) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let damaged = |e: serde_json::Error| {
            Error::corrupt("read checkpoint", "not the content of a checkpoint")
                .with("shard", shard)
                .with("number", record.number)
                .with_source(e)
        };
        let head: Head = serde_json::from_slice(&record.payload).map_err(damaged)?;
        if head.format != FORMAT {
            return Err(Error::config("read checkpoint", "a format that this version does not know")
                .with("shard", shard)
                .with("number", record.number)
                .with("format", head.format)
                .with_hint("use the version of landfall that wrote it, or a newer one"));
        }
        if record.payload.len() > MAX_BYTES {
            return Err(Error::corrupt("read checkpoint", "over 32 MiB: none is written that is so large")
                .with("shard", shard)
                .with("number", record.number)
                .with("bytes", record.payload.len()));
        }
        serde_json::from_slice(&record.payload).map_err(damaged)
    }
}

/// A value as it is once it was written and read: of a float with many digits the last bit may be another one.
fn read_back(value: &Value) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or_else(|_| value.clone())
}

/// SHA-256 of what is staged.
pub(super) fn digest(staged: &Value) -> String {
    sha256(staged.to_string().as_bytes())
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Makes a prepared epoch visible: once its checkpoint exists it only rolls forward (I1). Safe to repeat. Says whether
/// the sink has committed it now.
///
/// # Errors
/// `Fenced` if a newer owner has committed; `Corrupt` on a gap or a fork; `Ambiguous` if the sink cannot say what
/// happened even when it is asked again.
pub(super) async fn roll_forward(
    env: &Env,
    sink: &dyn AnySink,
    quarantine: Option<&Quarantine>,
    owner: &Owner,
    number: u64,
    checkpoint: &Checkpoint,
    events: &Events,
) -> Result<bool> {
    let mut now = false;
    if let Some(prepared) = &checkpoint.prepared {
        let request = CommitRequest {
            shard: owner.shard.clone(),
            mark: Mark {
                incarnation: owner.incarnation.clone(),
                generation: owner.generation,
                epoch: number,
                digest: prepared.digest.clone(),
            },
            previous: prepared.previous,
            staged: prepared.staged.clone(),
            enumeration: checkpoint.enumeration,
            load: LoadEntry {
                ledger: checkpoint.ledger.clone(),
                position: serde_json::to_string(&checkpoint.input)
                    .map_err(|e| Error::bug("commit epoch", "a position does not serialise").with_source(e))?,
            },
        };
        now = commit(env, sink, &request, events).await?;
    }
    if let Some(reference) = &checkpoint.quarantine {
        let quarantine = quarantine.ok_or_else(|| Error::bug("commit epoch", "rejects without a quarantine"))?;
        match quarantine.publish(reference).instrument(tracing::debug_span!("publish quarantine")).await {
            Err(_) if on(Defect::QuarantineMayFail) => {}
            done => done?,
        }
    }
    Ok(now)
}

/// Who commits.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub shard: ShardKey,
    pub incarnation: Incarnation,
    pub generation: u64,
}

/// Tries that a commit gets while the sink is unavailable or its answers are lost. Repeating is safe: the sink compares
/// the mark each time.
const TRIES: u32 = 5;

async fn commit(env: &Env, sink: &dyn AnySink, request: &CommitRequest<Value>, events: &Events) -> Result<bool> {
    let mut tried = 0;
    let outcome = loop {
        tried += 1;
        let answer = sink.commit(env, request.clone()).await;
        if answer.is_err() && on(Defect::CleansUpInDoubt) {
            sink.collect(&request.shard, u64::MAX, &[]).await?;
        }
        match answer {
            Ok(outcome) => break outcome,
            Err(e) if tried < TRIES && (e.is_transient() || e.kind() == ErrorKind::Ambiguous) => {
                let (shard, epoch) = (request.shard.clone(), request.mark.epoch);
                events.send(Event::CommitRetried { shard, epoch, error: e.to_string() });
                env.sleep(Duration::from_millis(50 << tried)).await;
            }
            Err(e) => return Err(e.with("shard", &request.shard).with("epoch", request.mark.epoch)),
        }
    };
    let halt = |message: &'static str, found: String| {
        Error::corrupt("commit epoch", message)
            .with("shard", &request.shard)
            .with("epoch", request.mark.epoch)
            .with("after", request.previous.map_or_else(|| "none".to_owned(), |n| n.to_string()))
            .with("found", found)
    };
    let text = |m: &Mark| format!("epoch {} of generation {} ({})", m.epoch, m.generation, m.incarnation);
    match outcome {
        CommitOutcome::Done => Ok(true),
        CommitOutcome::AlreadyCommitted if on(Defect::AlreadyDoneIsAnError) => {
            Err(halt("the destination holds the epoch already", text(&request.mark)))
        }
        CommitOutcome::AlreadyCommitted => Ok(false),
        CommitOutcome::Fenced { generation } => {
            Err(Error::new(ErrorKind::Fenced, "commit epoch", "a newer owner has taken over")
                .with("shard", &request.shard)
                .with("generation", request.mark.generation)
                .with("newer", generation))
        }
        CommitOutcome::Gap { .. } | CommitOutcome::Fork { .. } if on(Defect::HaltsAreIgnored) => Ok(false),
        CommitOutcome::Gap { found } => Err(halt(
            "the destination does not hold the epoch that must come before",
            found.as_ref().map_or_else(|| "nothing".to_owned(), text),
        )
        .with_hint("destination or checkpoints were lost or restored from a backup; restore both to the same point")),
        CommitOutcome::Fork { found } => Err(halt("the destination holds another history", text(&found))
            .with_hint("two pipelines write to it under one name, or its checkpoints were replaced")),
    }
}

/// Refuses to abandon an epoch of which a part may be visible.
///
/// # Errors
/// `Config` if the sink does not commit all of an epoch, or nothing.
pub(super) fn check_transactional(sink: &dyn AnySink) -> Result<()> {
    if sink.promise() == Transactional::NAME {
        return Ok(());
    }
    Err(Error::config("abandon epoch", "the sink may hold a part of it")
        .with("promise", sink.promise())
        .with_hint("mend what the destination refuses it for, and run again"))
}

/// Whether the destination holds the epoch that is abandoned: an older owner has committed it first.
pub(super) async fn is_committed(sink: &dyn AnySink, shard: &ShardKey, abandons: &AbandonedEpoch) -> Result<bool> {
    let mark = sink.mark(shard).await?;
    Ok(mark.is_some_and(|mark| mark.epoch == abandons.epoch && mark.digest == abandons.digest))
}

/// Checks that the destination holds what the chain says: no more (I8), and no less (I2).
pub(super) async fn check_mark(
    sink: &dyn AnySink,
    shard: &ShardKey,
    newest: Option<(&Record, &Checkpoint)>,
) -> Result<()> {
    if on(Defect::MarkIsNotCompared) {
        return Ok(());
    }
    let mark = sink.mark(shard).await?;
    let halt = |message: &'static str, hint: &'static str| {
        let found = mark.as_ref().map_or_else(|| "nothing".to_owned(), |mark| mark.epoch.to_string());
        Err(Error::corrupt("open pipeline", message)
            .with("shard", shard)
            .with("destination_epoch", found)
            .with("newest_checkpoint", newest.map_or(0, |(record, _)| record.number))
            .with_hint(hint))
    };
    let abandoned = |record: &Record, of: &Checkpoint| of.abandons(record.number).map(|abandons| abandons.epoch);
    let fitting = newest.map_or([None; 3], |(record, checkpoint)| match &checkpoint.prepared {
        // It may have been committed, or not yet; and what it abandons may have been committed before.
        Some(prepared) => [Some(record.number), prepared.previous, abandoned(record, checkpoint).or(prepared.previous)],
        None => [checkpoint.marked; 3],
    });
    match mark_fit(mark.as_ref(), newest.map(|(record, _)| (&record.incarnation, record.number)), &fitting) {
        MarkFit::Fits => Ok(()),
        MarkFit::OtherLife => halt("the destination holds epochs of another life of this pipeline", CHECKPOINTS_LOST),
        MarkFit::Ahead => halt("the destination is ahead of the checkpoints", CHECKPOINTS_LOST),
        MarkFit::Behind if sink.promise() == AtLeastOnce::NAME => Ok(()),
        MarkFit::Behind => halt(
            "the destination does not hold what was committed to it",
            "it was lost, moved or restored from a backup: bring it back; or load it anew from the landing, with an empty \
             destination and checkpoints in a new place",
        ),
    }
}

const CHECKPOINTS_LOST: &str = "checkpoints were lost or restored from a backup: restore them to match, or use a new \
     pipeline name and an empty destination";
