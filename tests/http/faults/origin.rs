//! A listing as JSON, NDJSON or CSV, plain or compressed, in pages that `Link` headers lead through; and what goes wrong with it.

use super::clock::LimitClock;
use async_compression::tokio::bufread::GzipEncoder;
use landfall::env::Env;
use landfall::testkit::SeededEntropy;
use landfall::testkit::http::{Ending, Fault, Reply, Request, Server, Spot};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt;

pub const PAGES: u64 = 40;
pub const ROWS: u64 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Ndjson,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Plain,
    Gzip,
}

/// A row: text that has to be escaped in each of the formats, and takes several bytes a letter.
pub fn row(id: u64) -> (i64, String) {
    (i64::try_from(id).expect("few"), format!("row \"{id}\", ≥ {}, Grüße", id * 7))
}

pub fn rows() -> Vec<(i64, String)> {
    (0..PAGES * ROWS).map(row).collect()
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// Where the records of a page are.
    pub fn records(self) -> &'static str {
        match self {
            Self::Json => "$[*]",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }

    fn page(self, number: u64) -> String {
        let rows = (number * ROWS..(number + 1) * ROWS).map(row);
        let object = |(id, name): (i64, String)| serde_json::json!({"id": id, "name": name}).to_string();
        match self {
            Self::Json => format!("[{}]", rows.map(object).collect::<Vec<_>>().join(",")),
            Self::Ndjson => rows.map(|row| object(row) + "\n").collect(),
            Self::Csv => {
                let lines = rows.map(|(id, name)| format!("{id},\"{}\"\r\n", name.replace('"', "\"\"")));
                ["id,name\r\n".to_owned()].into_iter().chain(lines).collect()
            }
        }
    }
}

impl Coding {
    pub const ALL: [Self; 2] = [Self::Plain, Self::Gzip];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
        }
    }
}

/// The right answers to `/<format>/<coding>?page=<n>`.
pub struct Pages(BTreeMap<String, Reply>);

impl Pages {
    pub async fn new() -> Self {
        let mut pages = BTreeMap::new();
        for format in Format::ALL {
            for coding in Coding::ALL {
                let path = format!("/{}/{}", format.name(), coding.name());
                for number in 0..PAGES {
                    let page = page(format, coding, number).await;
                    if number == 0 {
                        pages.insert(path.clone(), page.clone());
                    }
                    pages.insert(format!("{path}?page={number}"), page);
                }
            }
        }
        Self(pages)
    }
}

async fn page(format: Format, coding: Coding, number: u64) -> Reply {
    let plain = format.page(number).into_bytes();
    let mut compressed = Vec::new();
    GzipEncoder::new(plain.as_slice()).read_to_end(&mut compressed).await.expect("in memory");
    let reply = match coding {
        Coding::Plain => Reply::status(200, plain),
        Coding::Gzip => Reply::status(200, compressed).header("content-encoding", "gzip"),
    };
    let reply = reply.header("content-type", format.content_type());
    if number + 1 < PAGES { reply.header("link", &format!("<?page={}>; rel=\"next\"", number + 1)) } else { reply }
}

/// Which requests meet the fault: `times` of them from number `from` on.
#[derive(Clone, Debug)]
pub struct Plan {
    pub fault: Fault,
    pub from: u64,
    pub times: u64,
}

/// Serves `pages` with the fault of `plan`.
pub struct Origin {
    server: Server,
    healed: Arc<AtomicBool>,
}

impl Origin {
    pub async fn start(pages: &Arc<Pages>, plan: Plan, clock: &LimitClock) -> Self {
        let healed = Arc::new(AtomicBool::new(false));
        let (pages, fine, clock) = (Arc::clone(pages), Arc::clone(&healed), clock.clone());
        let before = Mutex::new(None);
        let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1)));
        let server = Server::start(move |request: &Request| {
            let Some(right) = pages.0.get(&request.target).cloned() else { return Reply::status(404, "") };
            let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
            let number = request.number as u64;
            if fine.load(Ordering::SeqCst) || number < plan.from || number - plan.from >= plan.times {
                *before = Some(right.clone());
                return right;
            }
            // The client has set a limit for the head when it asks, and sets more for the body: so many must be set before they pass.
            let limits = match plan.fault {
                Fault::Breaks(Spot::Start | Spot::Head, Ending::Silence) => Some(0),
                Fault::Breaks(_, Ending::Silence) => Some(1),
                _ => None,
            };
            if let Some(limits) = limits {
                let (clock, begun) = (clock.clone(), clock.begun());
                tokio::spawn(async move { clock.pass_limits(begun + limits).await });
            }
            match &plan.fault {
                Fault::Again => before.clone().expect("the first request is right"),
                fault => fault.spoil(right, &env),
            }
        })
        .await;
        Self { server, healed }
    }

    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// From now on nothing goes wrong.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.server.seen().len() as u64
    }
}
