use super::events::{Events, Status};
use crate::landing::PartitionEnd;
use crate::model::{Coverage, EpochLedger, LoadCounts, PartitionId, PipelineName, StopReason, Timestamp, Window};
use crate::source::TrafficCounts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What was landed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LandedCounts {
    /// Segments.
    pub segments: u64,
    /// Pages.
    pub pages: u64,
    /// Records.
    pub records: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Bytes written.
    pub stored_bytes: u64,
}

impl LandedCounts {
    pub(super) fn add(&mut self, pages: u64, records: u64, bytes: u64, stored_bytes: u64) {
        self.segments += 1;
        self.pages += pages;
        self.records += records;
        self.bytes += bytes;
        self.stored_bytes += stored_bytes;
    }
}

/// How the read of a partition went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PartitionReport {
    /// The partition.
    pub partition: PartitionId,
    /// Why the read ended.
    pub reason: StopReason,
    /// Pages read.
    pub pages: u64,
    /// Records read.
    pub records: u64,
    /// What became of the records that this run has taken out of the landing and committed, earlier ones included; `None` if
    /// there were none, without a landing, and for partitions beyond the first 1,000 of a shard: see
    /// [`Pipeline::accounts`](crate::pipeline::Pipeline::accounts) for all of them.
    #[serde(default)]
    pub load: Option<LoadCounts>,
}

impl PartitionReport {
    pub(super) fn of(end: &PartitionEnd) -> Self {
        let PartitionEnd { partition, reason, pages, records } = end.clone();
        Self { partition, reason, pages, records, load: None }
    }
}

/// How the reads of all partitions ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PartitionTotals {
    /// Partitions whose read ended.
    pub ended: u64,
    /// Those that were read to a proven end.
    pub complete: u64,
    /// How many ended for each kind of reason.
    pub reasons: BTreeMap<String, u64>,
    /// Pages read.
    pub pages: u64,
    /// Records read.
    pub records: u64,
    /// Times that a partition was parked.
    pub parked: u64,
    /// Times that the source listed a partition again in the same run: it was passed over.
    pub repeated: u64,
}

impl PartitionTotals {
    pub(super) fn add(&mut self, end: &PartitionReport) {
        self.ended += 1;
        self.complete += u64::from(end.reason.is_complete());
        *self.reasons.entry(end.reason.as_str().to_owned()).or_default() += 1;
        self.pages += end.pages;
        self.records += end.records;
    }
}

/// A part of a source that is known to be missing, or not known to be whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gap {
    /// The partition.
    pub partition: PartitionId,
    /// The window of it; `None` if it is the whole partition.
    pub window: Option<Window>,
    /// Why.
    pub why: String,
    /// Records that there are, as the API says, if it does.
    pub claimed: Option<u64>,
    /// Records that came.
    pub came: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}", self.partition)?;
        if let Some(window) = &self.window {
            write!(f, ", {window}")?;
        }
        write!(f, ": {} came", self.came)?;
        if let Some(claimed) = self.claimed {
            write!(f, " of {claimed}")?;
        }
        write!(f, "; {}", self.why)
    }
}

/// What is still missing: the next run asks for it, because no position has moved past it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Missing {
    /// Partitions and windows that are not whole. One that was filled in the same run does not count, as long as it is among
    /// those that are named.
    pub total: u64,
    /// Records that are missing of those whose number the API claims.
    pub records: u64,
    /// At most 1,000 of them.
    pub gaps: Vec<Gap>,
}

impl Missing {
    /// Takes up what is covered; names `most` gaps. Gives why something is missing of it, if it is.
    pub(super) fn take_up(&mut self, coverage: &Coverage, most: usize) -> Option<String> {
        // What is withdrawn is missing no more.
        let known = |gap: &Gap| gap.partition == coverage.partition && gap.window == coverage.window;
        if let Some(before) = self.gaps.iter().position(known) {
            let filled = self.gaps.swap_remove(before);
            self.total -= 1;
            self.records -= lacking(filled.claimed, filled.came);
        }
        let why = coverage.missing()?;
        let (claimed, came) = (coverage.claimed, coverage.tally.records);
        self.total += 1;
        self.records += lacking(claimed, came);
        if self.gaps.len() < most {
            let (partition, window) = (coverage.partition.clone(), coverage.window.clone());
            self.gaps.push(Gap { partition, window, why: why.clone(), claimed, came });
        }
        Some(why)
    }
}

fn lacking(claimed: Option<u64>, came: u64) -> u64 {
    claimed.map_or(0, |claimed| claimed.saturating_sub(came))
}

/// What a run did: the balanced ledger, and why each partition ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// What the sink promises.
    pub promise: String,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// What was landed in this run; all zero without a landing.
    pub landed: LandedCounts,
    /// Epochs committed in this run.
    pub epochs: u64,
    /// What became of the records of the committed epochs, at every hop.
    pub ledger: EpochLedger,
    /// How the reads of partitions ended.
    pub totals: PartitionTotals,
    /// Partitions that were read: at most 1,000 of them, those without a proven end first.
    pub partitions: Vec<PartitionReport>,
    /// What is still missing.
    pub missing: Missing,
    /// Why the list of partitions is not whole, if it is not: there may be partitions that were not read.
    pub unlisted: Option<String>,
    /// Whether the sink was given a whole enumeration, if it [demands](crate::sink::Sink::demand) one; else it took nothing away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enumerated: Option<bool>,
    /// Requests, retries and waits of the source in this run.
    #[serde(default)]
    pub traffic: TrafficCounts,
}

impl RunReport {
    /// What `events` know of the run of a pipeline whose sink makes `promise`, from `started_at` until `now`.
    pub(super) fn of(events: &Events, promise: &str, started_at: Timestamp, now: Timestamp, stopped: bool) -> Self {
        let status = events.status();
        let Status { landed, committed, epochs, partitions: totals, ended: partitions, .. } = status;
        let Status { missing, unlisted, enumerated, traffic, .. } = status;
        Self {
            pipeline: events.pipeline().clone(),
            promise: promise.to_owned(),
            started_at,
            ended_at: now,
            stopped,
            landed,
            epochs,
            ledger: committed,
            totals,
            partitions,
            missing,
            unlisted,
            enumerated,
            traffic,
        }
    }

    /// Whether every partition was read to a proven end, and nothing is known to be missing; and the sink was given a whole
    /// enumeration, if it demands one.
    pub fn is_complete(&self) -> bool {
        let proven = self.totals.complete == self.totals.ended && self.missing.total == 0;
        proven && !self.stopped && self.unlisted.is_none() && self.enumerated != Some(false)
    }
}

/// Partitions that are named one by one in the table.
const SHOWN: usize = 20;

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.ended_at.saturating_since(self.started_at).as_secs_f64();
        let end = if self.stopped {
            "stopped"
        } else if self.is_complete() {
            "complete"
        } else {
            "incomplete"
        };
        writeln!(f, "pipeline {} · {end} · {} epochs · {seconds:.2} s · {}", self.pipeline, self.epochs, self.promise)?;
        if self.landed.segments > 0 {
            let LandedCounts { segments, pages, records, bytes, stored_bytes } = &self.landed;
            writeln!(
                f,
                "landed   {records} records in {pages} pages, {segments} segments ({} as {})",
                size(*bytes),
                size(*stored_bytes)
            )?;
        }
        if self.traffic.requests > 0 {
            writeln!(f, "source   {}", self.traffic)?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<20} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}",
            "hop", "in", "out", "filtered", "repeated", "quarantined", "fanned out"
        )?;
        let mut row = |name: &str, counts: [u64; 6]| {
            write!(f, "{name:<20}")?;
            counts.iter().try_for_each(|n| write!(f, " {n:>11}"))?;
            writeln!(f)
        };
        let l = &self.ledger;
        row("read", [l.read + l.superseded, l.read, 0, 0, 0, 0])?;
        for s in &l.stages {
            row(&s.stage, [s.input, s.output, s.filtered, s.deduplicated, s.quarantined, s.fanned_out])?;
        }
        row("committed", [l.written, l.staged, 0, 0, 0, 0])?;
        if l.superseded > 0 {
            writeln!(f, "{} records of responses that never became whole were passed over", l.superseded)?;
        }
        writeln!(
            f,
            "{} read = {} committed + {} repeated + {} filtered + {} quarantined{}",
            l.read,
            l.staged,
            l.deduplicated(),
            l.filtered(),
            l.quarantined,
            match l.stages.iter().map(|s| s.fanned_out).sum::<u64>() {
                0 => String::new(),
                n => format!(" - {n} fanned out"),
            }
        )?;
        writeln!(f)?;
        for p in self.partitions.iter().take(SHOWN) {
            write!(f, "partition {}: {} records in {} pages; {}", p.partition, p.records, p.pages, p.reason)?;
            match &p.load {
                Some(load) => writeln!(f, "; {load}")?,
                None => writeln!(f)?,
            }
        }
        let shown = self.partitions.iter().take(SHOWN);
        let (shown, complete) = shown.fold((0, 0), |(n, c), p| (n + 1, c + u64::from(p.reason.is_complete())));
        if self.totals.ended > shown {
            let (rest, complete) = (self.totals.ended - shown, self.totals.complete.saturating_sub(complete));
            writeln!(f, "and {rest} more partitions, {complete} of them complete")?;
        }
        if self.missing.total > 0 {
            let Missing { total, records, gaps } = &self.missing;
            writeln!(f)?;
            writeln!(
                f,
                "missing  {total} partitions or windows, {records} records that the API claims; the next run asks again"
            )?;
            for gap in gaps.iter().take(SHOWN) {
                writeln!(f, "missing  {gap}")?;
            }
            if *total > SHOWN as u64 {
                writeln!(f, "and {} more", total - SHOWN as u64)?;
            }
        }
        if self.enumerated == Some(false) {
            writeln!(f, "this was no whole enumeration: the sink has taken nothing away")?;
        }
        if let Some(error) = &self.unlisted {
            writeln!(f, "the list of partitions is not whole: {error}")?;
        }
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
