//! Export jobs.

use super::*;
use crate::error::Status;
use crate::model::Position as _;
use crate::model::{Proof, Validity};
use crate::testkit::{ManualClock, SeededEntropy};
use std::collections::BTreeMap;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What an API does with its jobs.
#[derive(Default)]
struct Api {
    /// By id: what it is of, and how often it was polled.
    jobs: BTreeMap<usize, (String, usize)>,
    running: usize,
    most: usize,
    deleted: Vec<usize>,
}

/// Jobs that run for two polls and then are `end`, which may depend on what they are of; files `/files/<id>/<n>` of two records each.
async fn jobs(files: usize, end: impl Fn(&str) -> &'static str + Send + Sync + 'static) -> (Server, Arc<Mutex<Api>>) {
    let api = Arc::new(Mutex::new(Api::default()));
    let state = Arc::clone(&api);
    let server = Server::start(move |got| {
        let mut api = state.lock().expect("not poisoned");
        let path: Vec<&str> = got.path().trim_matches('/').split('/').collect();
        let id = || path[1].parse::<usize>().expect("a job");
        match (got.method.as_str(), path[0]) {
            ("POST", _) => {
                let id = api.jobs.len() + 1;
                api.jobs.insert(id, (String::from_utf8_lossy(&got.body).into_owned(), 0));
                api.running += 1;
                api.most = api.most.max(api.running);
                Reply::status(201, format!("{{\"id\":{id}}}"))
            }
            ("GET", "jobs") => {
                let id = id();
                let (of, polls) = api.jobs.get_mut(&id).expect("created");
                *polls += 1;
                let status = if *polls < 3 { "RUNNING" } else { end(of) };
                if *polls == 3 && status != "RUNNING" {
                    api.running -= 1;
                }
                let urls: Vec<_> = (0..files).map(|n| format!("\"/files/{id}/{n}?sig={CANARY}\"")).collect();
                Reply::json(format!("{{\"status\":\"{status}\",\"rows\":{},\"urls\":[{}]}}", files * 2, urls.join(",")))
            }
            ("GET", "files") => {
                let n: usize = path[2].parse().expect("a file");
                Reply::json(format!("{{\"id\":{}}}\n{{\"id\":{}}}\n", 2 * n + 1, 2 * n + 2))
            }
            ("DELETE", "jobs") => {
                api.deleted.push(id());
                Reply::status(204, "")
            }
            _ => Reply::status(404, ""),
        }
    })
    .await;
    (server, api)
}

/// A secret in links.
const CANARY: &str = "c4n4ry-51gn4tur3";

fn export() -> Export {
    Export::poll("/jobs/{id}").status_at("$.status").download_at("$.urls[*]").delete("/jobs/{id}")
}

fn exporting(server: &Server, export: Export) -> RestBuilder {
    let rest = Rest::post(server.url("/jobs")).json(serde_json::json!({"of": "orders"}));
    rest.export(export).records("ndjson").limits(patient())
}

/// `a`, `b` …
fn many(server: &Server, export: Export, n: usize) -> Rest {
    let rest = Rest::post(server.url("/jobs")).json(serde_json::json!({"of": "{of}"})).export(export);
    let rest = rest.records("ndjson").limits(patient());
    let names = (0..n).map(|n| char::from(b'a' + u8::try_from(n).expect("few")).to_string());
    names.fold(rest, |rest, name| rest.partition(name.clone(), [("of", name)])).build().expect("a source")
}

async fn read_all(rest: &Rest) -> Vec<Brought> {
    let partitions = list_partitions(rest, &Env::system()).await.expect("listed");
    futures::future::join_all(partitions.iter().map(|partition| read_partition(rest, partition, None))).await
}

fn methods(server: &Server) -> Vec<String> {
    server.seen().iter().map(|got| format!("{} {}", got.method, got.path())).collect()
}

#[tokio::test]
async fn a_job_is_created_polled_read_and_deleted() {
    let (server, _) = jobs(2, |_| "DONE").await;
    let brought = read(&exporting(&server, export().rows_at("$.rows")).build().expect("a source"), None).await;
    assert_eq!(brought.records(), ids(1..=4));
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::TotalMatched(4)));
    assert_eq!(
        methods(&server),
        [
            "POST /jobs",
            "GET /jobs/1",
            "GET /jobs/1",
            "GET /jobs/1",
            "GET /files/1/0",
            "GET /files/1/1",
            "DELETE /jobs/1"
        ]
    );
    let (first, second) = (brought.slept[0], brought.slept[1]);
    assert!(first >= SECOND / 2 && first <= SECOND && second >= SECOND && second <= 2 * SECOND, "{:?}", brought.slept);
}

#[tokio::test]
async fn a_failed_job_fails_its_partition_and_frees_the_slot() {
    let (server, _) = jobs(1, |of| if of.contains("\"a\"") { "FAILED" } else { "DONE" }).await;
    let brought = read_all(&many(&server, export().attempts(1), 3)).await;
    let error = brought[0].error();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Status::Exhausted));
    assert!(error.to_string().contains("the export job failed") && error.to_string().contains("jobs=`1`"), "{error}");
    assert!(brought[1..].iter().all(|brought| brought.stopped().is_complete()));
    // Nothing of it is kept: the next run makes another job.
    assert_eq!(brought[0].last_position(), RestPosition::default());
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_aborted_and_frees_the_slot() {
    let (server, api) = jobs(1, |of| if of.contains("\"a\"") { "RUNNING" } else { "DONE" }).await;
    let brought = read_all(&many(&server, export().attempts(1).timeout(10 * MINUTE), 3)).await;
    assert!(brought[0].error().to_string().contains("takes too long"), "{}", brought[0].error());
    let slept: Duration = brought[0].slept.iter().sum();
    assert!(slept >= 10 * MINUTE && slept < 11 * MINUTE, "{slept:?}");
    assert!(brought[1..].iter().all(|brought| brought.stopped().is_complete()));
    assert!(api.lock().expect("not poisoned").deleted.contains(&1));
}

#[tokio::test]
async fn a_skipped_job_is_zero_rows_and_not_tried_again() {
    let (server, _) = jobs(0, |_| "Skipped").await;
    let brought = read(&exporting(&server, export()).build().expect("a source"), None).await;
    assert_eq!((brought.records().len(), brought.stopped()), (0, &StopReason::Exhausted(Proof::AllFiles(0))));
    assert_eq!(methods(&server).iter().filter(|m| m.starts_with("POST")).count(), 1);
}

#[tokio::test]
async fn more_jobs_than_slots_all_finish() {
    let (server, api) = jobs(1, |_| "DONE").await;
    let brought = read_all(&many(&server, export().slots(2), 9)).await;
    assert!(brought.iter().all(|brought| brought.records() == ids(1..=2) && brought.stopped().is_complete()));
    let api = api.lock().expect("not poisoned");
    assert_eq!((api.jobs.len(), api.most, api.deleted.len()), (9, 2, 9));
}

#[tokio::test]
async fn a_fatal_error_aborts_the_running_job() {
    let server = Server::start(|got| match got.method.as_str() {
        "POST" => Reply::json("{\"id\":\"x/1\"}"),
        "GET" => Reply::status(403, ""),
        _ => Reply::status(200, ""),
    })
    .await;
    let brought =
        read(&exporting(&server, export().abort("PUT", "/jobs/{id}/cancel")).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Auth);
    assert_eq!(methods(&server), ["POST /jobs", "GET /jobs/x%2F1", "PUT /jobs/x%2F1/cancel"]);
}

#[tokio::test]
async fn the_cooldown_of_a_failed_job_is_put_off_not_waited_for() {
    let (server, _) = jobs(1, |_| "FAILED").await;
    let rest = exporting(&server, export().attempts(2).cooldown(5 * MINUTE)).build().expect("a source");
    let clock = Arc::new(FastClock::default());
    let all = Partition::new("all");
    let brought = read_at(&clock, &rest, &all, None).await;
    let StopReason::RateLimited { until: Some(until) } = *brought.stopped() else { panic!("{:?}", brought.end) };
    assert!(brought.slept.iter().sum::<Duration>() < 5 * SECOND, "{:?}", brought.slept);
    // Too early, nothing is asked.
    let asked = server.seen().len();
    let early = read_at(&clock, &rest, &all, Some(brought.last_position())).await;
    assert_eq!((early.stopped(), server.seen().len()), (&StopReason::RateLimited { until: Some(until) }, asked));
    drop(clock.sleep(5 * MINUTE));
    let late = read_at(&clock, &rest, &all, Some(early.last_position())).await;
    assert!(late.error().to_string().contains("jobs=`2`"), "{}", late.error());
}

#[tokio::test]
async fn a_crash_after_the_creation_does_not_create_a_second_job() {
    let (server, _) = jobs(3, |_| "DONE").await;
    let rest = exporting(&server, export()).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!(brought.position(0).validity(), Validity::ShortLived { until: None });
    // After each position: what comes is the rest, of the same job.
    for (n, first) in [(0, 1), (1, 3), (2, 5)] {
        let resumed = read(&rest, Some(brought.position(n))).await;
        assert_eq!((resumed.records(), resumed.stopped().is_complete()), (ids(first..=6), true));
    }
    assert_eq!(methods(&server).iter().filter(|m| m.starts_with("POST")).count(), 1);
}

#[tokio::test]
async fn each_window_is_a_job_that_a_crash_does_not_make_again() {
    // A job is called by what it is of.
    let server = Server::start(|got| match (got.method.as_str(), got.path().split('/').nth(1)) {
        ("POST", _) => {
            let bound = |name| got.parameter(name).expect("bounded");
            Reply::json(format!("{{\"id\":\"{}-{}\"}}", bound("from"), bound("to")))
        }
        ("GET", Some("jobs")) => {
            let id = got.path().rsplit('/').next().expect("a job");
            Reply::json(format!("{{\"status\":\"done\",\"urls\":[\"/files/{id}\"]}}"))
        }
        ("GET", _) => {
            let (from, _) = got.path().rsplit('/').next().and_then(|id| id.split_once('-')).expect("bounds");
            Reply::json(format!("{{\"id\":{from}}}\n"))
        }
        _ => Reply::status(204, ""),
    })
    .await;
    let since = Since::field("id").initial("0").until("30").window(Window::numbers(10)).query("from").until_query("to");
    let rest = exporting(&server, export().slots(2)).since(since).parallel_windows(2).build().expect("a source");
    let made = || methods(&server).iter().filter(|m| m.starts_with("POST")).count();
    let whole = read(&rest, None).await;
    let mut all = whole.records();
    all.sort();
    assert_eq!((all, made()), (ids([0, 10, 20]), 3));
    assert_eq!(whole.stopped(), &StopReason::Exhausted(Proof::AllWindows(3)));
    let positions = whole.emitted.iter().filter(|emission| emission.position.is_some()).count();
    for n in 0..positions {
        let position = whole.position(n);
        let known = position.reading.iter().filter(|reading| reading.job.is_some()).count();
        let complete =
            whole.emitted.iter().filter(|e| e.position.is_some()).take(n + 1).filter(|e| e.item.is_some()).count();
        let before = made();
        assert!(read(&rest, Some(position)).await.stopped().is_complete());
        assert_eq!(made() - before, 3 - known - complete, "after {n}");
    }
}

#[tokio::test]
async fn a_job_that_the_api_has_forgotten_is_made_again_by_the_next_run() {
    let (server, _) = jobs(1, |_| "DONE").await;
    let brought = read(&exporting(&server, export()).build().expect("a source"), None).await;
    let forgetful = Server::start(|got| match (got.method.as_str(), got.path()) {
        ("POST", _) => Reply::json("{\"id\":7}"),
        ("GET", "/jobs/7") => Reply::json("{\"status\":\"done\",\"urls\":[\"/f\"]}"),
        ("GET", "/f") => Reply::json("{\"id\":9}\n"),
        _ => Reply::status(404, ""),
    })
    .await;
    let rest = exporting(&forgetful, export()).build().expect("a source");
    // The plan of the read names the server, so it is one of this one that is resumed.
    let mine = read(&rest, None).await;
    assert_eq!(mine.records(), ids(9..=9));
    let mut position = serde_json::to_value(mine.position(0)).expect("JSON");
    position["reading"][0]["job"]["id"] = "1".into();
    let resumed = read(&rest, Some(serde_json::from_value(position).expect("a position"))).await;
    assert_eq!((resumed.records(), resumed.stopped().is_complete()), (ids(9..=9), true));
    drop(brought);
}

#[tokio::test]
async fn a_job_with_fewer_files_than_were_read_is_made_again() {
    let server = Server::start(|got| match (got.method.as_str(), got.path()) {
        ("POST", _) => Reply::json(format!("{{\"id\":\"{}\"}}", if got.number == 0 { "big" } else { "small" })),
        ("GET", "/jobs/big") if got.number < 3 => Reply::json("{\"status\":\"done\",\"urls\":[\"/1\",\"/2\",\"/3\"]}"),
        ("GET", "/jobs/big" | "/jobs/small") => Reply::json("{\"status\":\"done\",\"urls\":[\"/1\"]}"),
        ("GET", path) => Reply::json(format!("{{\"id\":{}}}\n", path.trim_matches('/'))),
        _ => Reply::status(204, ""),
    })
    .await;
    let rest = exporting(&server, export()).build().expect("a source");
    let brought = read(&rest, None).await;
    let resumed = read(&rest, Some(brought.position(2))).await;
    assert_eq!((resumed.records(), resumed.stopped().is_complete()), (ids(1..=1), true));
    assert!(methods(&server).contains(&"GET /jobs/small".to_owned()));
    assert!(
        methods(&server).contains(&"DELETE /jobs/big".to_owned()),
        "it is left behind, and not gone: {:?}",
        methods(&server)
    );
}

#[tokio::test]
async fn a_job_of_another_request_is_deleted_and_not_gone_on_with() {
    let (server, api) = jobs(2, |_| "DONE").await;
    let brought = read(&exporting(&server, export()).build().expect("a source"), None).await;
    api.lock().expect("not poisoned").deleted.clear();
    let other = exporting(&server, export()).json(serde_json::json!({"of": "customers"})).build().expect("a source");
    let resumed = read(&other, Some(brought.position(0))).await;
    assert_eq!((resumed.records(), resumed.stopped().is_complete()), (ids(1..=4), true));
    assert_eq!(api.lock().expect("not poisoned").deleted, [1, 2]);
}

#[tokio::test]
async fn links_are_in_no_position_page_log_or_error() {
    let (server, _) = jobs(2, |_| "DONE").await;
    let brought = read(&exporting(&server, export()).build().expect("a source"), None).await;
    assert!(server.targets().iter().any(|target| target.contains(CANARY)));
    for emission in &brought.emitted {
        let text = format!("{emission:?}");
        assert!(!text.contains(CANARY), "{text}");
    }
    assert_eq!(brought.pages()[1].request, "GET file 1 of job 1");

    let server = Server::start(|got| match (got.method.as_str(), got.path()) {
        ("POST", _) => Reply::json("{\"id\":7}"),
        ("GET", "/jobs/7") => {
            Reply::json(format!("{{\"status\":\"done\",\"urls\":[\"/{CANARY}{CANARY}/f?sig={CANARY}\"]}}"))
        }
        _ => Reply::status(400, format!("no {}", got.target)),
    })
    .await;
    let brought = read(&exporting(&server, export()).build().expect("a source"), None).await;
    let text = format!("{} {:?}", brought.error(), brought.error());
    assert!(text.contains("GET file 0 of job 7") && !text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn files_on_another_origin_are_read_without_credentials() {
    let files = Server::start(|_| Reply::json("{\"id\":1}\n")).await;
    let link = files.url("/f?sig=x");
    let server = Server::start(move |got| match (got.method.as_str(), got.path()) {
        ("POST", _) => Reply::json("{\"id\":7}"),
        ("GET", "/jobs/7") => Reply::json(format!("{{\"status\":\"done\",\"urls\":[\"{link}\",\"/redirects\"]}}")),
        _ => Reply::status(302, "").header("location", &link.replace("/f", "/g")),
    })
    .await;
    let rest = |export| {
        exporting(&server, export).auth(Bearer::new("t0p-s3cr3t")).header("x-tenant", "t").allow_repeated_pages()
    };
    let refused = read(&rest(export()).build().expect("a source"), None).await;
    assert_eq!(refused.error().kind(), ErrorKind::Config);
    assert!(files.seen().is_empty());
    let allowed = rest(export().download_origin(files.url(""))).build().expect("a source");
    let brought = read(&allowed, None).await;
    assert_eq!(brought.records(), [ids(1..=1), ids(1..=1)].concat());
    assert_eq!(files.targets(), ["/f?sig=x", "/g?sig=x"]);
    for got in files.seen() {
        assert!(!got.headers.contains_key("authorization") && !got.headers.contains_key("x-tenant"), "{got:?}");
    }
}

#[tokio::test]
async fn a_link_that_has_expired_is_asked_for_again_once() {
    let server = Server::start(|got| match (got.method.as_str(), got.path()) {
        ("POST", _) => Reply::json("{\"id\":7}"),
        ("GET", "/jobs/7") => {
            Reply::json(format!("{{\"status\":\"done\",\"urls\":[\"/f?n={}\",\"/never\"]}}", got.number))
        }
        ("GET", "/f") if got.parameter("n").as_deref() == Some("1") => Reply::status(403, "expired"),
        ("GET", "/f") => Reply::json("{\"id\":1}\n"),
        _ => Reply::status(403, "expired"),
    })
    .await;
    let brought = read(&exporting(&server, export()).build().expect("a source"), None).await;
    assert_eq!((brought.records(), brought.error().kind()), (ids(1..=1), ErrorKind::Auth));
    assert_eq!(methods(&server).iter().filter(|m| m.ends_with("/never")).count(), 2);
    assert_eq!(methods(&server).iter().filter(|m| m.ends_with("/f")).count(), 2);
}

#[tokio::test]
async fn what_a_job_claims_must_be_there() {
    let (server, _) = jobs(2, |_| "DONE").await;
    let wrong = export().rows_at("$.status");
    assert_eq!(read(&exporting(&server, wrong).build().expect("a source"), None).await.error().kind(), ErrorKind::Data);

    for (answer, outcome) in [
        ("{\"status\":\"done\",\"urls\":[\"/f\"],\"rows\":5}", Some(ErrorKind::Incomplete)),
        ("{\"status\":\"done\",\"urls\":[],\"rows\":0}", None),
        ("{\"status\":\"done\",\"urls\":[],\"rows\":5}", Some(ErrorKind::Incomplete)),
        ("{\"status\":\"done\",\"rows\":0}", Some(ErrorKind::Data)),
        ("{\"status\":\"done\",\"urls\":null,\"rows\":0}", Some(ErrorKind::Data)),
        ("{\"status\":\"done\",\"urls\":[{}],\"rows\":0}", Some(ErrorKind::Data)),
        ("{\"status\":\"purple\"}", Some(ErrorKind::Data)),
        ("{\"state\":\"done\"}", Some(ErrorKind::Data)),
        ("<html>", Some(ErrorKind::Data)),
    ] {
        let server = Server::start(move |got| match (got.method.as_str(), got.path()) {
            ("POST", _) => Reply::json("{\"id\":7}"),
            ("GET", "/jobs/7") => Reply::json(answer),
            ("GET", "/f") => Reply::json("{\"id\":1}\n"),
            _ => Reply::status(204, ""),
        })
        .await;
        let brought = read(&exporting(&server, export().rows_at("$.rows")).build().expect("a source"), None).await;
        match outcome {
            Some(kind) => assert_eq!(brought.error().kind(), kind, "{answer}"),
            None => assert!(brought.stopped().is_complete() && brought.records().is_empty(), "{answer}"),
        }
    }
}

#[tokio::test]
async fn a_job_at_a_location_is_told_by_its_status_and_says_when_to_ask_again() {
    let server = Server::start(|got| match (got.method.as_str(), got.path(), got.number) {
        ("POST", _, _) => Reply::status(202, "").header("location", "/operations/1?v=2"),
        ("GET", "/operations/1", 1) => Reply::status(202, "").header("retry-after", "17"),
        ("GET", "/operations/1", _) => Reply::json("{}"),
        ("GET", "/result", _) => Reply::json("{\"id\":1}\n"),
        _ => Reply::status(404, ""),
    })
    .await;
    let rest = exporting(&server, Export::at_location().download("/result")).build().expect("a source");
    let brought = read(&rest, None).await;
    assert_eq!((brought.records(), brought.slept), (ids(1..=1), vec![17 * SECOND]));
    assert_eq!(server.targets(), ["/jobs", "/operations/1?v=2", "/operations/1?v=2", "/result"]);
    assert_eq!(rest.stats().waited(), Duration::ZERO, "a job takes its time");
}

#[tokio::test]
async fn a_creation_is_not_repeated_unless_that_does_no_harm() {
    let script = |got: &Got| match (got.method.as_str(), got.number) {
        ("POST", 0) => Reply::status(500, ""),
        ("POST", _) => Reply::json("{\"id\":7}"),
        ("GET", 2) => Reply::status(500, ""),
        ("GET", 3) => Reply::json("{\"status\":\"done\",\"urls\":[]}"),
        _ => Reply::status(204, ""),
    };
    let server = Server::start(script).await;
    let brought = read(&exporting(&server, export()).build().expect("a source"), None).await;
    assert_eq!((brought.error().status(), server.seen().len()), (Status::Exhausted, 1));
    let server = Server::start(script).await;
    let rest = exporting(&server, export()).idempotent().build().expect("a source");
    assert!(read(&rest, None).await.stopped().is_complete());
}

#[tokio::test]
async fn a_stop_leaves_the_job_to_the_next_run() {
    let (server, api) = jobs(1, |_| "DONE").await;
    let rest = exporting(&server, export()).build().expect("a source");
    let clock = ManualClock::new();
    let env = Env::deterministic(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(1)));
    let (queue, mut emissions) = mpsc::channel(100);
    let (stop, stopped) = watch::channel(false);
    let all = Partition::new("all");
    let mut out = Emitter::new(all.clone(), Arc::new(Semaphore::new(1 << 28)), 1 << 28, queue, stopped);
    let reading = rest.read(&env, &all, None, &mut out);
    let stopping = async {
        while api.lock().expect("not poisoned").jobs.values().all(|(_, polls)| *polls == 0) {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
    };
    let (end, ()) = futures::join!(reading, stopping);
    assert!(matches!(end, Err(error) if error.kind() == ErrorKind::Cancelled));
    assert!(api.lock().expect("not poisoned").deleted.is_empty());
    let kept = emissions.recv().await.and_then(|emission| emission.position).expect("a position");
    let kept: RestPosition = kept.restore().expect("of this source");
    assert_eq!(read(&rest, Some(kept)).await.records(), ids(1..=2));
    assert_eq!(api.lock().expect("not poisoned").jobs.len(), 1);
}

#[test]
fn exports_that_cannot_end_or_contradict_themselves_do_not_build() {
    let rest = || Rest::post("http://h/jobs").json(serde_json::json!({}));
    let refused = |rest: RestBuilder| rest.build().expect_err("it does not build").kind();
    for export in [
        Export::poll("/jobs/{id}"),
        Export::poll("/jobs").download_at("$.urls"),
        export().download("/files"),
        export().slots(0),
        export().attempts(0),
        export().timeout(Duration::ZERO),
        export().done(["ok"]).failed(["OK"]),
        export().download_at("$.["),
        export().id_at("$.ids[*]"),
        export().download_origin("https://user:pw@h"),
        export().download_origin("https://h/path"),
        export().abort("", "/jobs/{id}"),
        export().delete("/jobs/{id}/{nobody}"),
    ] {
        assert_eq!(refused(rest().export(export)), ErrorKind::Config);
    }
    assert_eq!(refused(rest().export(export()).paginate(PageNumber::query("page").until_empty())), ErrorKind::Config);
    assert_eq!(refused(rest().export(export()).total("$.total")), ErrorKind::Config);
    assert!(rest().export(export()).build().is_ok());
}
