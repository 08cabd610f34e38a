//! The source against a scripted server on loopback, with time owned by the test.

mod authority;
mod bodies;
mod conformance;
mod credentials;
mod drift;
mod egress;
mod exports;
mod far;
mod formats;
mod frozen;
mod incremental;
mod lines;
mod observed;
mod odd_refusals;
mod pace;
mod pagination;
mod partitions;
mod parts;
mod retries;
mod rules;
mod secrets;
mod together;
mod told;
mod unreachable;
mod waits;
mod ways_on;
mod windows;

use super::*;
use crate::env::watch;
use crate::env::{Clock, Entropy, Env};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Page, Partition, PositionValue, StopReason, Timestamp};
use crate::source::{Emission, Emitter, Source, list_partitions};
use crate::testkit::http::{Reply, Request as Got, Server};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// A clock that only its sleeps move: short ones pass at once, limits of time never come.
#[derive(Debug, Default)]
struct FastClock {
    micros: AtomicU64,
    slept: Mutex<Vec<Duration>>,
}

/// Sleeps from this long on are limits of time (see [`patient`]): they never pass.
const NEVER: Duration = Duration::from_secs(100_000);

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(START + i64::try_from(self.micros.load(Ordering::SeqCst)).expect("small"))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration >= NEVER / 2 {
            return futures::future::pending().boxed();
        }
        self.slept.lock().expect("not poisoned").push(duration);
        self.micros.fetch_add(u64::try_from(duration.as_micros()).expect("small"), Ordering::SeqCst);
        futures::future::ready(()).boxed()
    }
}

/// 2024-01-01T00:00:00Z.
const START: i64 = 1_704_067_200_000_000;

#[derive(Debug, Default)]
struct Dice(AtomicU64);

impl Entropy for Dice {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst)
    }
}

/// Limits of time that never come.
fn patient() -> Limits {
    Limits::default().with_idle(NEVER).with_total(NEVER)
}

/// What a read brought.
struct Brought {
    emitted: Vec<Emission<Page>>,
    end: Result<StopReason>,
    slept: Vec<Duration>,
}

impl Brought {
    fn pages(&self) -> Vec<&Page> {
        self.emitted.iter().filter_map(|e| e.item.as_ref()).collect()
    }

    /// The records of all pages, as text.
    fn records(&self) -> Vec<String> {
        let mut records = Vec::new();
        for page in self.pages() {
            let spans = page.spans.as_ref().expect("the source looked at the page");
            assert_eq!(spans.len() as u64, page.records);
            for span in spans.iter() {
                records.push(String::from_utf8_lossy(span.of(&page.body).expect("inside")).into_owned());
            }
        }
        records
    }

    fn stopped(&self) -> &StopReason {
        self.end.as_ref().expect("no error")
    }

    fn error(&self) -> &Error {
        self.end.as_ref().expect_err("an error")
    }

    /// The position after the `n`th emission that has one.
    fn position(&self, n: usize) -> RestPosition {
        let positions: Vec<&PositionValue> = self.emitted.iter().filter_map(|e| e.position.as_ref()).collect();
        positions[n].restore().expect("a position of this source")
    }

    fn last_position(&self) -> RestPosition {
        self.position(self.emitted.iter().filter(|e| e.position.is_some()).count() - 1)
    }
}

async fn read(rest: &Rest, from: Option<RestPosition>) -> Brought {
    let partition = listed(rest).await[0].clone();
    read_partition(rest, &partition, from).await
}

async fn listed(rest: &Rest) -> Vec<Partition> {
    list_partitions(rest, &Env::system()).await.expect("listed")
}

async fn read_partition(rest: &Rest, partition: &Partition, from: Option<RestPosition>) -> Brought {
    read_at(&Arc::new(FastClock::default()), rest, partition, from).await
}

async fn read_at(clock: &Arc<FastClock>, rest: &Rest, partition: &Partition, from: Option<RestPosition>) -> Brought {
    let env = Env::deterministic(Arc::clone(clock) as _, Arc::new(Dice::default()));
    let (emitted, end) = read_in(&env, rest, partition, from).await;
    let slept = clock.slept.lock().expect("not poisoned").clone();
    Brought { emitted, end, slept }
}

async fn read_in(
    env: &Env,
    rest: &Rest,
    partition: &Partition,
    from: Option<RestPosition>,
) -> (Vec<Emission<Page>>, Result<StopReason>) {
    let (queue, mut emissions) = mpsc::channel(10_000);
    let (_stop, stopped) = watch::channel(false);
    let mut out = Emitter::new(partition.clone(), Arc::new(Semaphore::new(1 << 28)), 1 << 28, queue, stopped);
    let end = rest.read(env, partition, from, &mut out).await;
    drop(out);
    let mut emitted = Vec::new();
    while let Some(emission) = emissions.recv().await {
        emitted.push(emission);
    }
    (emitted, end)
}

/// `{"data":[{"id":1}, …],"next":…}`.
fn page(ids: impl IntoIterator<Item = u64>, next: &str) -> Reply {
    let records: Vec<_> = ids.into_iter().map(|id| format!("{{\"id\":{id}}}")).collect();
    Reply::json(format!("{{\"data\":[{}],\"next\":{next}}}", records.join(",")))
}

fn ids(range: impl IntoIterator<Item = u64>) -> Vec<String> {
    range.into_iter().map(|id| format!("{{\"id\":{id}}}")).collect()
}

/// Three pages of two records behind tokens `a` and `b`.
fn three_pages(got: &Got) -> Reply {
    match got.parameter("cursor").as_deref() {
        None => page([1, 2], "\"a\""),
        Some("a") => page([3, 4], "\"b\""),
        Some("b") => page([5, 6], "null"),
        Some(other) => Reply::status(400, format!("no cursor {other}")),
    }
}

fn by_cursor(server: &Server) -> RestBuilder {
    Rest::get(server.url("/r")).paginate(Cursor::at("$.next").query("cursor")).records("$.data[*]").limits(patient())
}
