use super::history::lost_by_offsets;
use super::server::{PAGE, Server};
use landfall::connectors::http::{Cursor, Keyset, LinkHeader, NextUrl, Offset, PageNumber, Rest, RestBuilder};
use landfall::env::Env;
use landfall::env::watch;
use landfall::model::{Page, Partition, StopReason};
use landfall::source::{Emission, Emitter, Source, list_partitions};
use landfall::testkit::{ManualClock, SeededEntropy};
use landfall::{Error, ErrorKind};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

const HISTORIES: u64 = 1_000;

/// How the histories of one style went.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Read to a proven end, where asking for one offset after the other loses nothing, and where it does.
    quiet: u64,
    healed: u64,
    /// Ended as incomplete.
    reported: u64,
    /// Rows that were there all the time and did not come, in reads that said they were complete.
    missing: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.quiet += other.quiet;
        self.healed += other.healed;
        self.reported += other.reported;
        self.missing += other.missing;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quiet, healed, reported, missing } = self;
        write!(f, "missing={missing} quiet={quiet} healed={healed} reported={reported}")
    }
}

async fn read(rest: &Rest, partition: &Partition) -> (Vec<Emission<Page>>, Result<StopReason, Error>) {
    let env = Env::deterministic(Arc::new(ManualClock::new()), Arc::new(SeededEntropy::new(1)));
    let (queue, mut emissions) = mpsc::channel(10_000);
    let (_stop, stopped) = watch::channel(false);
    let mut out = Emitter::new(partition.clone(), Arc::new(Semaphore::new(1 << 28)), 1 << 28, queue, stopped);
    let end = rest.read(&env, partition, None, &mut out).await;
    drop(out);
    let mut emitted = Vec::new();
    while let Some(emission) = emissions.recv().await {
        emitted.push(emission);
    }
    (emitted, end)
}

/// The ids of all rows that came.
fn ids(emitted: &[Emission<Page>]) -> BTreeSet<u64> {
    let pages = emitted.iter().filter_map(|emission| emission.item.as_ref());
    let rows = pages.flat_map(|page| {
        let body: serde_json::Value = serde_json::from_slice(&page.body).expect("JSON");
        body["rows"].as_array().expect("rows").clone()
    });
    rows.map(|row| row["id"].as_u64().expect("an id")).collect()
}

async fn histories(path: &str, style: fn(RestBuilder) -> RestBuilder) -> Tally {
    let server = Server::start().await;
    let rest = Rest::get(server.url(&format!("/{path}/{{seed}}"))).records("$.rows[*]");
    let rest =
        (0..HISTORIES).fold(style(rest), |rest, seed| rest.partition(seed.to_string(), [("seed", seed.to_string())]));
    let rest = rest.build().expect("a source");
    let mut tally = Tally::default();
    for (seed, partition) in (0..).zip(list_partitions(&rest, &Env::system()).await.expect("listed")) {
        let (emitted, end) = read(&rest, &partition).await;
        let history = server.take(seed);
        match end {
            Ok(StopReason::Exhausted(_)) => {
                let missing = history.missing(&ids(&emitted));
                tally.missing += missing as u64;
                match lost_by_offsets(seed, PAGE) {
                    _ if missing > 0 => {}
                    0 => tally.quiet += 1,
                    _ => tally.healed += 1,
                }
            }
            Err(error) if error.kind() == ErrorKind::Incomplete => tally.reported += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    tally
}

/// A way to cut a listing into pages.
struct Style {
    name: &'static str,
    path: &'static str,
    paginate: fn(RestBuilder) -> RestBuilder,
}

/// What names a row of the listing loses none. What counts rows is watched: offsets by their overlap, all else by passes that agree.
const STYLES: &[Style] = &[
    Style {
        name: "keyset",
        path: "by_place",
        paginate: |r| r.paginate(Keyset::of("$.id").query("after").size("limit", 7)),
    },
    Style { name: "cursor, by place", path: "by_place", paginate: |r| r.paginate(Cursor::at("$.next").query("after")) },
    Style { name: "next URL, by place", path: "by_place", paginate: |r| r.paginate(NextUrl::at("$.next_url")) },
    Style { name: "link, by place", path: "by_place", paginate: |r| r.paginate(LinkHeader::new().optional()) },
    Style { name: "offset", path: "by_offset", paginate: |r| r.paginate(offset().until_empty()) },
    Style { name: "offset, total", path: "by_offset", paginate: |r| r.paginate(offset().total("$.total")) },
    Style { name: "page", path: "by_offset", paginate: |r| r.paginate(page().until_empty()).confirm() },
    Style { name: "page, total", path: "by_offset", paginate: |r| r.paginate(page().total("$.total")).confirm() },
    Style { name: "page, pages", path: "by_offset", paginate: |r| r.paginate(page().total_pages("$.pages")).confirm() },
    Style {
        name: "cursor, by offset",
        path: "by_offset",
        paginate: |r| r.paginate(Cursor::at("$.next").query("after")).confirm(),
    },
    Style {
        name: "next URL, by offset",
        path: "by_offset",
        paginate: |r| r.paginate(NextUrl::at("$.next_url")).confirm(),
    },
    Style {
        name: "link, by offset",
        path: "by_offset",
        paginate: |r| r.paginate(LinkHeader::new().optional()).confirm(),
    },
];

fn offset() -> Offset {
    Offset::query("offset").limit("limit", PAGE as u64)
}

fn page() -> PageNumber {
    PageNumber::query("page")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_history_loses_a_lasting_row_without_saying_so() {
    let runs = STYLES.iter().map(|style| tokio::spawn(histories(style.path, style.paginate)));
    let mut all = Tally::default();
    for (style, run) in STYLES.iter().zip(futures::future::join_all(runs).await) {
        let tally = run.expect("no panic");
        println!("histories={HISTORIES} style={} {tally}", style.name);
        all.add(tally);
    }
    println!("histories={HISTORIES} styles={} {all}", STYLES.len());
    assert_eq!(all.missing, 0);
    assert!(all.healed > 0 && all.reported > 0, "the histories are too quiet to show anything");
}
