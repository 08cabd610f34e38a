//! One read of one partition: as a single listing, or window by window.

use super::incremental::Since;
use super::listing::Listing;
use super::position::RestPosition;
use super::rest::Rest;
use super::windows::{Interval, Ledger, Slicer};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Coverage, Page, Partition, Proof, StopReason, Timestamp};
use crate::source::Emitter;
use futures::stream::{FuturesUnordered, StreamExt};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

/// What all listings of one read have in common.
pub(super) struct Scope<'a> {
    pub(super) rest: &'a Rest,
    pub(super) env: &'a Env,
    pub(super) partition: &'a Partition,
    /// Each listing has an emitter of its own, forked from this one.
    pub(super) out: &'a Emitter<Page, RestPosition>,
    /// The position of the partition, which its listings move together. Locked across `emit`, so that positions are emitted in
    /// the order in which they arise; memory is reserved before, or listings would wait for each other.
    pub(super) position: Mutex<RestPosition>,
    pages: AtomicU64,
    records: AtomicU64,
    windows: AtomicU64,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        rest: &'a Rest,
        env: &'a Env,
        partition: &'a Partition,
        out: &'a Emitter<Page, RestPosition>,
        from: RestPosition,
    ) -> Self {
        let [pages, records, windows] = [0; 3].map(AtomicU64::new);
        Self { rest, env, partition, out, position: Mutex::new(from), pages, records, windows }
    }

    /// A page has come.
    pub(super) fn came(&self, records: u64) {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    /// Says of a read in windows that did not come to its end what it has not begun. It becomes durable with the end of the read.
    fn cover_windows(&self, end: &Result<StopReason>, not_begun: Vec<Interval>) {
        let not_begun = not_begun.into_iter().map(Interval::told).collect();
        self.out.fork().cover(Coverage::windows(self.partition.id.clone(), told(end), not_begun));
    }

    /// A window has come to its end; gives how many have so far.
    pub(super) fn completed(&self) -> u64 {
        self.windows.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Why this read has to end, if it has reached a limit.
    pub(super) fn limit(&self) -> Option<StopReason> {
        let (pages, records) = (self.pages.load(Ordering::Relaxed), self.records.load(Ordering::Relaxed));
        let reached = |limit: Option<u64>, n: u64| limit.is_some_and(|limit| n >= limit);
        if reached(self.rest.max_pages, pages) {
            return Some(StopReason::LimitReached(format!("{pages} pages")));
        }
        reached(self.rest.max_records, records).then(|| StopReason::LimitReached(format!("{records} records")))
    }
}

/// Reads `partition` from `from` on.
pub(super) async fn read(
    rest: &Rest,
    env: &Env,
    partition: &Partition,
    from: RestPosition,
    out: &Emitter<Page, RestPosition>,
) -> Result<StopReason> {
    let mut from = from;
    if let Some((since, _)) = &rest.since {
        from.is_of(since)?;
    }
    let windows = rest.since.as_ref().zip(rest.slicer.as_ref());
    if let Some(((since, _), _)) = windows {
        from.in_windows(since, env.now())?;
    } else {
        from.in_one(rest.since.as_ref().map(|(since, _)| since));
    }
    let scope = Scope::new(rest, env, partition, out, from);
    match windows {
        Some((_, slicer)) => read_windows(&scope, slicer).await,
        None => {
            let (since, kept, validators) = {
                let position = scope.position.lock().await;
                (position.since.clone(), position.reading.first().cloned(), position.validators.clone())
            };
            Listing::begin(&scope, since, None, kept)?.unless_matching(validators).run().await.0
        }
    }
}

impl RestPosition {
    /// Makes sure that what it holds is of this cursor field.
    fn is_of(&mut self, since: &Since) -> Result<()> {
        if let Some(kept) = self.field.as_ref().filter(|field| *field != since.name()) {
            if !since.starts_over() {
                return Err(Error::config(
                    "read partition",
                    "the cursor field is another one than that of the last read",
                )
                .with("kept", kept)
                .with("field", since.name())
                .with_hint("to read everything again by the new one, add .start_over_on_key_change()"));
            }
            tracing::warn!(kept, field = since.name(), "the cursor field has changed: starts over");
            *self = Self { begun: std::mem::take(&mut self.begun), ..Self::default() };
        }
        self.field = Some(since.name().to_owned());
        Ok(())
    }

    /// Prepares for a read in windows: sets what is to be complete at its end.
    fn in_windows(&mut self, since: &Since, now: Timestamp) -> Result<()> {
        self.reading.retain(|reading| reading.window.is_some());
        let Some(wanted) = since.span(now)? else { return Ok(()) };
        let overlap = since.window_overlap()?;
        // What was read without windows was read from the beginning.
        let before = self.since.take().map(|value| since.bound_at(&value).ok_or_else(|| value.changed_type()));
        let before = before.transpose()?.and_then(|to| Interval::new(wanted.from, to)).map(Ledger::complete_over);
        match self.windows.take().or(before) {
            Some(mut ledger) if ledger.span.from.is_like(wanted.from) => {
                ledger.extend(wanted, overlap);
                self.windows = Some(ledger);
            }
            Some(ledger) => return Err(since.value_at(ledger.span.from).changed_type()),
            None => self.windows = Some(Ledger::new(wanted)),
        }
        // A listing of a window that is not wanted any more has nothing to go on for.
        let gaps = self.windows.as_ref().map(|ledger| ledger.gaps.clone()).unwrap_or_default();
        self.reading.retain(|reading| {
            reading.window.is_some_and(|window| gaps.iter().any(|gap| gap.from <= window.from && window.to <= gap.to))
        });
        Ok(())
    }

    /// Prepares for a read without windows.
    fn in_one(&mut self, since: Option<&Since>) {
        self.reading.retain(|reading| reading.window.is_none());
        if let (Some(ledger), Some(since)) = (self.windows.take(), since) {
            self.since = Some(since.value_at(ledger.watermark()));
        }
    }
}

/// Reads what is not complete, window by window; one whose content is wrong does not stop the others.
async fn read_windows(scope: &Scope<'_>, slicer: &Slicer) -> Result<StopReason> {
    let (mut gaps, end, mut kept, mut said) = {
        let position = scope.position.lock().await;
        let Some(ledger) = &position.windows else { return Ok(StopReason::Exhausted(Proof::AllWindows(0))) };
        (ledger.gaps.clone(), ledger.span.to, position.reading.clone(), position.begun.clone())
    };
    let mut taken: Vec<Interval> = kept.iter().filter_map(|reading| reading.window).collect();
    kept.reverse();
    let mut ended = Ended::default();
    let mut reading = FuturesUnordered::new();
    loop {
        while reading.len() < scope.rest.parallel_windows && ended.goes_on() {
            let listing = match kept.pop() {
                Some(kept) => Listing::begin(scope, None, kept.window, Some(kept))?,
                None => {
                    let Some(window) = slicer.next(&gaps, &taken) else { break };
                    if let Some(limit) = scope.limit() {
                        ended.note(Ok(limit));
                        break;
                    }
                    taken.push(window);
                    Listing::begin(scope, None, Some(window), None)?
                }
            };
            let is_history = listing.window().is_some_and(|window| slicer.is_history(window, end));
            let listing = if is_history { listing.giving_way() } else { listing };
            reading.push(async move {
                let window = listing.window();
                if let Some(window) = window {
                    // Not before: a listing that holds the lock would not go on.
                    scope.position.lock().await.begin(window);
                }
                (window, listing.run().await)
            });
        }
        let Some((window, (end, is_said))) = reading.next().await else { break };
        if is_said {
            said.extend(window);
        }
        // A window that has failed stays taken: it is not tried again in this run.
        if let (Some(window), Ok(StopReason::Exhausted(_))) = (window, &end) {
            gaps = gaps.iter().flat_map(|gap| gap.without(window)).collect();
            taken.retain(|other| *other != window);
        }
        ended.note(end);
    }
    let reason = ended.reason();
    // A record of its own says what came of each window that was begun.
    let not_begun = said.iter().fold(gaps, |gaps, window| gaps.iter().flat_map(|gap| gap.without(*window)).collect());
    if !matches!(reason, Ok(StopReason::Exhausted(_))) {
        scope.cover_windows(&reason, not_begun);
    }
    reason
}

/// How a read ended, for its record.
pub(super) fn told(end: &Result<StopReason>) -> StopReason {
    match end {
        Ok(reason) => reason.clone(),
        Err(error) if error.kind() == ErrorKind::Cancelled => StopReason::Cancelled,
        Err(error) => StopReason::Failed(error.to_string()),
    }
}

/// How the listings of a read have ended.
#[derive(Default)]
struct Ended {
    complete: u64,
    /// Why the read has to end before all windows are complete.
    stopped: Option<StopReason>,
    /// Why a window was left out; the others go on.
    ignored: Option<StopReason>,
    failures: u64,
    error: Option<Error>,
}

impl Ended {
    fn note(&mut self, end: Result<StopReason>) {
        match end {
            Ok(StopReason::Exhausted(_)) => self.complete += 1,
            Ok(reason @ StopReason::Ignored(_)) => self.ignored = Some(reason),
            Ok(reason) => self.stopped = Some(self.stopped.take().unwrap_or(reason)),
            Err(error) => {
                // What is wrong with one window may be right with others; what is wrong with the API is not.
                let is_its_own = matches!(error.kind(), ErrorKind::Data | ErrorKind::Incomplete);
                self.failures += if is_its_own { 1 } else { MOST_FAILURES };
                self.error = Some(self.error.take().unwrap_or(error));
            }
        }
    }

    fn goes_on(&self) -> bool {
        self.stopped.is_none() && self.failures < MOST_FAILURES
    }

    fn reason(self) -> Result<StopReason> {
        match (self.error, self.stopped.or(self.ignored)) {
            (Some(error), _) => Err(error),
            (None, Some(reason)) => Ok(reason),
            (None, None) => Ok(StopReason::Exhausted(Proof::AllWindows(self.complete))),
        }
    }
}

/// Windows that may fail before the others are left alone.
const MOST_FAILURES: u64 = 10;
