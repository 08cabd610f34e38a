use crate::api::Api;
use crate::credentials::{KINDS, Kind, Means};
use crate::keys::Keys;
use crate::observed::Observed;
use crate::search::{SECRET, found, found_below};
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::{Columns, Decode, Dedup};
use landfall::connectors::http::{LinkHeader, Rest};
use landfall::connectors::parquet::ParquetDataset;
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, PipelineName, ShardKey};
use landfall::pipeline::{Pipeline, RunFailure, RunReport};
use landfall::retry::Policy;
use landfall::sink::Quarantine;
use landfall::stage::{Output, from_fn};
use landfall::store::Store;
use landfall::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::broadcast::error::TryRecvError;
use url::form_urlencoded;

/// A path of the API, and how a run on it ends: with all pages, or with an error of this kind.
const WAYS: &[(&str, Option<ErrorKind>)] = &[
    ("/pages", None),
    ("/moved", None),
    ("/busy", None),
    ("/denied", Some(ErrorKind::Auth)),
    ("/refused", Some(ErrorKind::Config)),
    ("/down", Some(ErrorKind::Unavailable)),
    ("/elsewhere", Some(ErrorKind::Config)),
    ("/moved-to-it", Some(ErrorKind::Data)),
    ("/of-its-type", Some(ErrorKind::Data)),
    ("/encoded", Some(ErrorKind::Data)),
    ("/html", Some(ErrorKind::Data)),
    ("/leads-away", Some(ErrorKind::Config)),
    ("/keeps-it", Some(ErrorKind::Data)),
];

/// Runs a whole pipeline; gives all that it showed.
async fn run(path: &str, kind: &Kind, means: &Means, folder: &Path) -> (Result<()>, String) {
    let pages = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&pages);
    let look = from_fn("look", move |page: Page, out: &mut Output<Page>| {
        // Bodies too: what is landed lies there compressed.
        seen.lock().expect("not poisoned").push_str(&format!("{page:?} {}\n", String::from_utf8_lossy(&page.body)));
        out.emit(page);
        Ok(())
    });
    let store = Store::local(folder).expect("a folder");
    let api = if kind.over_tls { &means.tls_api } else { &means.api };
    let source = (kind.give)(Rest::get(format!("{api}{path}")), means)
        .paginate(LinkHeader::new().optional())
        .retry(Policy::default().with_attempts(2));
    let mut shown = format!("{source:?}");
    let built: Result<Pipeline> = (|| {
        let source = source.build()?;
        shown.push_str(&format!("{source:?}"));
        Pipeline::named("rows")
            .source(source)
            .land(Landing::in_store(&store, "raw")?)
            .stage(look)
            .stage(Decode::pages().schema(Columns::new().int64("id")).provenance())
            .stage(Dedup::by(["id"]))
            .sink(ParquetDataset::in_store(&store, "rows")?)
            .quarantine(Quarantine::in_store(&store, "quarantine")?)
            .checkpoints(StoreCheckpoints::new(&store, "state")?)
            .build()
    })();
    let ended = match built {
        Ok(pipeline) => {
            shown.push_str(&format!("{pipeline:?}"));
            let (ended, told) = watched(&pipeline).await;
            shown.push_str(&told);
            match ended {
                Ok(report) => {
                    let json = serde_json::to_string(&report).expect("serialises");
                    shown.push_str(&format!("{report} {report:?} {json}"));
                    Ok(())
                }
                Err(failure) => {
                    shown.push_str(&format!("{failure} {failure:?} {}", failure.report()));
                    Err(Error::from(failure))
                }
            }
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &ended {
        shown.push_str(&format!("{error} {error:?}"));
    }
    let coverage = Landing::in_store(&store, "raw").expect("a name").coverage(&shard(), &Env::system()).await;
    let coverage = match coverage {
        Ok(reader) => format!("{:?}", reader.all().await),
        Err(error) => format!("{error:?}"),
    };
    shown.push_str(&coverage);
    shown.push_str(&pages.lock().expect("not poisoned"));
    (ended, shown)
}

fn shard() -> ShardKey {
    ShardKey { pipeline: PipelineName::new("rows").expect("a name"), shard: 0 }
}

/// Runs it; gives what it told meanwhile and afterwards: events, status, accounts.
pub async fn watched(pipeline: &Pipeline) -> (std::result::Result<RunReport, RunFailure>, String) {
    let handle = pipeline.start();
    let (mut events, control) = (handle.events(), handle.control());
    let ended = handle.wait().await;
    let status = control.status();
    let mut told = format!("{status:?}");
    loop {
        match events.try_recv() {
            Ok(event) => told.push_str(&format!("{event:?}\n")),
            Err(TryRecvError::Lagged(_)) => {}
            Err(_) => break,
        }
    }
    let accounts = match pipeline.accounts().await {
        Ok(reader) => format!("{:?}", reader.all().await),
        Err(error) => format!("{error:?}"),
    };
    (ended, told + &accounts)
}

#[tokio::test]
async fn no_way_of_ending_shows_or_keeps_a_planted_secret() {
    let observed = Observed::all();
    let api = Api::start(Keys::all().server()).await;
    let beside = TempDir::new().expect("a folder");
    let (file, kept) = (beside.path().join("secret"), beside.path().join("kept"));
    std::fs::write(&file, SECRET).expect("written");
    let means = Means { api: api.url(), tls_api: api.tls_url(), file, kept };
    let (mut wrong, mut runs, mut searched) = (Vec::new(), 0, 0);
    for kind in KINDS {
        for (path, error) in WAYS {
            let folder = TempDir::new().expect("a folder");
            let before = api.signed();
            let (ended, shown) = run(path, kind, &means, folder.path()).await;
            runs += 1;
            let way = format!("{}, {path}", kind.name);
            let (expected, got) = (kind.fails.or(*error), ended.as_ref().err().map(Error::kind));
            if got != expected {
                wrong.push(format!("{way}: {got:?}, not {expected:?}: {ended:?}"));
            }
            if kind.fails.is_none() && api.signed() == before {
                wrong.push(format!("{way}: nothing was sent with it"));
            }
            let (below, bytes) = found_below(folder.path());
            searched += bytes + shown.len() as u64;
            wrong.extend(below.into_iter().chain(found(shown.as_bytes())).map(|what| format!("{way}: {what}")));
        }
    }
    let (log, metrics) = (observed.log(), observed.metrics());
    searched += (log.len() + metrics.len()) as u64;
    for (what, text) in [("the log", log.as_slice()), ("the metrics", metrics.as_bytes())] {
        wrong.extend(found(text).map(|found| format!("{what}: {found}")));
    }
    println!("credentials={} runs={runs} searched_bytes={searched} found={}", KINDS.len(), wrong.len());
    assert!(String::from_utf8_lossy(&log).contains("trying again") && metrics.contains("landfall_http_requests_total"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_url_with_a_secret_is_refused_without_being_shown() {
    // As people write it, and as a URL holds it.
    let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    for url in [
        format!("http://user:{encoded}@h/r"),
        format!("http://{encoded}@h/r"),
        format!("http://user:{SECRET}@h/r"),
        format!("http://h:{SECRET}/r"),
        format!("ftp://h/{SECRET}"),
    ] {
        let error = Rest::get(url).build().expect_err("not built");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(found(format!("{error} {error:?}").as_bytes()), None);
    }
}
