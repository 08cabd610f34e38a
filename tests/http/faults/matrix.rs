use super::clock::{IDLE, LimitClock, NEVER};
use super::origin::{Coding, Format, Origin, PAGES, Pages, Plan, ROWS, rows};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{Batch, Columns, Decode, Dedup};
use landfall::connectors::http::{Limits, LinkHeader, Rest};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::StopReason;
use landfall::pipeline::{Pipeline, RunReport, Settings};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::store::Store;
use landfall::testkit::SeededEntropy;
use landfall::testkit::http::{Ending, Fault, Spot, Wait};
use landfall::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// How a cell must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// With all rows.
    Complete,
    /// With all rows that the response shows; so many of the server's are in the quarantine, or not to be seen by anyone.
    CompleteBut(u64),
    /// Later: the wait that the API asks for is longer than a run may wait.
    PutOff,
    /// With an error of this kind.
    Fails(ErrorKind),
}

use Outcome::{Complete, CompleteBut, Fails, PutOff};

/// One row of the table: `times` requests from number `from` on meet the fault; `retries` requests more than one for each
/// page are made; the outcome for every format and coding, unless `but` says another one.
struct Case {
    name: &'static str,
    fault: Fault,
    from: u64,
    times: u64,
    retries: u64,
    outcome: Outcome,
    but: Exceptions,
}

type Exceptions = &'static [(Option<Format>, Option<Coding>, u64, Outcome)];

/// Without a length or chunks nothing shows where lines end.
const UNKNOWN_END: Exceptions =
    &[(Some(Format::Ndjson), None, 0, Fails(ErrorKind::Data)), (Some(Format::Csv), None, 0, Fails(ErrorKind::Data))];
/// A document that is not sound has no records; a line that is not is one bad record.
const ONE_BAD_RECORD: Exceptions = &[
    (Some(Format::Json), Some(Coding::Plain), 0, Fails(ErrorKind::Data)),
    (Some(Format::Ndjson), Some(Coding::Plain), 0, CompleteBut(1)),
    (Some(Format::Csv), Some(Coding::Plain), 0, CompleteBut(1)),
];
/// That is how a page without lines looks; one of rows has the names of its columns at least.
const NO_LINES: Exceptions =
    &[(Some(Format::Ndjson), None, 0, CompleteBut(ROWS)), (Some(Format::Csv), None, 0, Fails(ErrorKind::Data))];

/// In the middle of the listing.
const MIDDLE: u64 = 6;
/// For ever from the last page on.
const LAST: u64 = PAGES - 1;
const FOR_EVER: u64 = u64::MAX;
/// Attempts of one request, by default.
const ATTEMPTS: u64 = 5;

/// Ten years.
const YEARS: u64 = 315_576_000;

fn breaks(name: &'static str, spot: Spot, ending: Ending) -> Case {
    once(name, Fault::Breaks(spot, ending))
}

fn once(name: &'static str, fault: Fault) -> Case {
    Case { name, fault, from: MIDDLE, times: 1, retries: 1, outcome: Complete, but: &[] }
}

fn fine(name: &'static str, fault: Fault) -> Case {
    Case { retries: 0, ..once(name, fault) }
}

fn down(name: &'static str, fault: Fault) -> Case {
    let outcome = Fails(ErrorKind::Unavailable);
    Case { name, fault, from: LAST, times: FOR_EVER, retries: ATTEMPTS - 1, outcome, but: &[] }
}

fn throttle(name: &'static str, wait: Wait) -> Case {
    Case { times: 3, retries: 3, ..once(name, Fault::Busy(429, wait)) }
}

fn cases() -> Vec<Case> {
    vec![
        fine("slowly, byte by byte", Fault::Drip),
        fine("late", Fault::Delay(Duration::from_secs(20))),
        fine("in chunks, with a trailer", Fault::Chunks),
        fine("after an interim response", Fault::EarlyHints),
        breaks("closed before the head", Spot::Start, Ending::Close),
        breaks("reset before the head", Spot::Start, Ending::Reset),
        breaks("silent before the head", Spot::Start, Ending::Silence),
        breaks("cut in the head", Spot::Head, Ending::Close),
        breaks("silent in the head", Spot::Head, Ending::Silence),
        once("not HTTP", Fault::NotHttp),
        breaks("cut short of its length", Spot::Half, Ending::Close),
        breaks("cut at a line end", Spot::Line, Ending::Close),
        breaks("reset in the body", Spot::Half, Ending::Reset),
        breaks("silent in the body", Spot::Half, Ending::Silence),
        once("chunks without an end", Fault::ChunksWithoutEnd),
        once("cut in a chunk", Fault::CutChunk),
        once("a bad chunk size", Fault::BadChunkSize),
        once("a length that is too long", Fault::LengthTooLong),
        once("a length that is too short", Fault::LengthTooShort),
        once("two lengths", Fault::TwoLengths),
        Case { retries: 0, but: UNKNOWN_END, ..once("until the connection closes", Fault::UntilClose) },
        Case { but: UNKNOWN_END, ..once("cut, until the connection closes", Fault::CutUntilClose) },
        once("half a body, rightly framed", Fault::HalfBody),
        Case { retries: 0, outcome: Fails(ErrorKind::Data), ..once("other bytes", Fault::Garbage) },
        Case { but: ONE_BAD_RECORD, ..once("a flipped bit", Fault::FlippedBit) },
        Case { but: NO_LINES, ..once("an empty body", Fault::EmptyBody) },
        Case { retries: 0, outcome: Fails(ErrorKind::Data), ..once("a login page", Fault::Html) },
        Case { retries: 0, outcome: Fails(ErrorKind::Incomplete), ..once("the page before once more", Fault::Again) },
        Case {
            retries: 0,
            outcome: Fails(ErrorKind::Config),
            ..once("a redirect to elsewhere", Fault::Redirect("http://elsewhere.invalid/".into()))
        },
        fine("the right page twice", Fault::Twice),
        once("ten thousand headers", Fault::ManyHeaders),
        once("408", Fault::Status(408)),
        once("500", Fault::Status(500)),
        once("521", Fault::Status(521)),
        Case { times: 3, retries: 3, ..once("503 three times", Fault::Status(503)) },
        down("503 for ever", Fault::Status(503)),
        down("connections reset for ever", Fault::Breaks(Spot::Start, Ending::Reset)),
        down("cut for ever", Fault::Breaks(Spot::Half, Ending::Close)),
        Case { retries: 0, outcome: Fails(ErrorKind::Auth), ..once("401", Fault::Status(401)) },
        Case { retries: 0, outcome: Fails(ErrorKind::Config), ..once("400", Fault::Status(400)) },
        Case { retries: 0, outcome: Fails(ErrorKind::Data), ..once("204", Fault::Status(204)) },
        Case { retries: 0, outcome: Fails(ErrorKind::Data), ..once("206", Fault::Status(206)) },
        Case { retries: 0, outcome: Fails(ErrorKind::Data), ..once("304", Fault::Status(304)) },
        throttle("429, no wait said", Wait::Unsaid),
        throttle("429, in seconds", Wait::Seconds(2)),
        throttle("429, at a date", Wait::Date(5)),
        throttle("429, at a date that is over", Wait::Text("Mon, 01 Jan 2023 00:00:05 GMT")),
        throttle("429, negative", Wait::Text("-3")),
        throttle("429, in words", Wait::Text("soon")),
        throttle("429, now", Wait::Seconds(0)),
        Case { times: 1, retries: 0, outcome: PutOff, ..throttle("429, absurd", Wait::Seconds(31_536_000_000)) },
        Case { times: 1, retries: 0, outcome: PutOff, ..throttle("429, in ten years", Wait::Date(YEARS)) },
        throttle("429, at a date by a clock that is years ahead", Wait::DateAhead { wait: 5, ahead: YEARS }),
        Case {
            from: LAST,
            times: FOR_EVER,
            retries: 2,
            outcome: PutOff,
            ..throttle("429 for ever", Wait::Seconds(1800))
        },
    ]
}

/// What outlives a run.
struct World {
    store: Store,
    table: MemoryTable<Batch>,
    clock: LimitClock,
}

impl World {
    fn new() -> Self {
        Self { store: Store::memory(), table: MemoryTable::new(), clock: LimitClock::new() }
    }

    async fn run(&self, url: String, format: Format) -> Result<RunReport, Error> {
        let env = Env::deterministic(Arc::new(self.clock.clone()), Arc::new(SeededEntropy::new(1)));
        let source = Rest::get(url)
            .paginate(LinkHeader::new())
            .records(format.records())
            .limits(Limits::default().with_idle(IDLE).with_total(NEVER));
        let pipeline = Pipeline::named("rows")
            .source(source)
            .land(Landing::in_store(&self.store, "raw")?)
            .stage(Decode::pages().schema(Columns::new().int64("id").utf8("name")))
            .stage(Dedup::by(["id"]))
            .sink(MemorySink::new(&self.table))
            .quarantine(Quarantine::in_store(&self.store, "quarantine")?)
            .checkpoints(StoreCheckpoints::new(&self.store, "state")?)
            .settings(Settings::default().epoch_age(NEVER))
            .env(env)
            .build()?;
        pipeline.run().await.map_err(Error::from)
    }

    fn rows(&self) -> Vec<(i64, String)> {
        let mut rows = Vec::new();
        for batch in self.table.items() {
            let (ids, names) = (batch.column("id").expect("declared"), batch.column("name").expect("declared"));
            let (ids, names) = (ids.as_primitive::<Int64Type>(), names.as_string::<i32>());
            rows.extend(ids.values().iter().copied().zip(names.iter().map(|n| n.unwrap_or_default().to_owned())));
        }
        rows.sort_unstable();
        rows
    }
}

/// What is wrong with a cell, and how many requests it took.
async fn cell(pages: &Arc<Pages>, case: &Case, format: Format, coding: Coding) -> (Vec<String>, u64, u64) {
    let exception = case.but.iter().find(|(f, c, ..)| f.is_none_or(|f| f == format) && c.is_none_or(|c| c == coding));
    let (retries, outcome) =
        exception.map_or((case.retries, case.outcome), |(_, _, retries, outcome)| (*retries, *outcome));
    let world = World::new();
    let plan = Plan { fault: case.fault.clone(), from: case.from, times: case.times };
    let origin = Origin::start(pages, plan, &world.clock).await;
    let path = format!("/{}/{}", format.name(), coding.name());
    let mut wrong = Vec::new();
    let ended = world.run(origin.url(&path), format).await;
    let lost = (PAGES * ROWS).saturating_sub(world.rows().len() as u64);
    let got = match &ended {
        Ok(report) if report.is_complete() && lost > 0 => CompleteBut(lost),
        Ok(report) if report.is_complete() => Complete,
        Ok(report) if report.partitions.iter().all(|p| matches!(p.reason, StopReason::RateLimited { .. })) => PutOff,
        Ok(report) => panic!("{report}"),
        Err(error) => Fails(error.kind()),
    };
    if got != outcome {
        wrong.push(format!("{got:?}, not {outcome:?}: {ended:?}"));
    }
    // A run that ends at a page has asked for it once at least.
    let completes = matches!(outcome, Complete | CompleteBut(_));
    let needed = if completes { PAGES } else { case.from + 1 };
    let requests = origin.requests();
    if requests != needed + retries {
        wrong.push(format!("{requests} requests for {needed}, not {retries} more"));
    }
    if let Ok(report) = &ended {
        if report.ledger.deduplicated() > 0 {
            wrong.push(format!("{} rows came twice", report.ledger.deduplicated()));
        }
    }
    // Without the fault the next run completes what is missing, and nothing is there twice.
    origin.heal();
    if !completes {
        match world.run(origin.url(&path), format).await {
            Ok(report) if report.is_complete() => {}
            other => wrong.push(format!("the next run: {other:?}")),
        }
    }
    let (got, mut want) = (world.rows(), rows());
    if let CompleteBut(_) = outcome {
        want.retain(|row| got.contains(row));
    }
    if got != want {
        wrong.push(format!("{} rows, not {}, or other ones", got.len(), want.len()));
    }
    (wrong, requests, needed)
}

#[tokio::test]
async fn every_fault_of_the_way_completes_or_ends_with_its_error() {
    let pages = Arc::new(Pages::new().await);
    let (mut cells, mut all, mut worst) = (0, Vec::new(), 0.0_f64);
    for case in cases() {
        for format in Format::ALL {
            for coding in Coding::ALL {
                let run = cell(&pages, &case, format, coding);
                #[expect(clippy::disallowed_methods, reason = "only a test that hangs gets there")]
                let ran = tokio::time::timeout(Duration::from_secs(60), run).await;
                let (wrong, requests, needed) = ran.unwrap_or_else(|_| (vec!["it hangs".to_owned()], 0, 1));
                cells += 1;
                #[allow(clippy::cast_precision_loss, reason = "few")]
                let amplification = requests as f64 / needed as f64;
                worst = worst.max(amplification);
                let verdict = if wrong.is_empty() { "ok" } else { "WRONG" };
                println!(
                    "{verdict:<5} {:<45} {:<6} {:<5} {requests:>3} requests for {needed:>2} = {amplification:.3}",
                    case.name,
                    format.name(),
                    coding.name()
                );
                all.extend(
                    wrong
                        .into_iter()
                        .map(|wrong| format!("{}, {}, {}: {wrong}", case.name, format.name(), coding.name())),
                );
            }
        }
    }
    println!("cells={cells} wrong={} worst_amplification={worst:.3}", all.len());
    assert!(all.is_empty(), "{}", all.join("\n"));
    assert!(worst <= 1.1, "{worst}");
}
