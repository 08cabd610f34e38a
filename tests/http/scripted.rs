//! The scripted API of the testkit, read by the REST source.

use crate::keys::Keys;
use landfall::ErrorKind;
use landfall::checkpoint::MemoryCheckpoints;
use landfall::connectors::http::{Bearer, Limits, On, RestBuilder, Tls, WaitFrom};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Rows};
use landfall::pipeline::Pipeline;
use landfall::retry::Policy;
use landfall::sink::{MemorySink, MemoryTable};
use landfall::stage::{Output, from_fn};
use landfall::store::Store;
use landfall::testkit::http::{Access, ApiScript, Ending, Fault, Paging, Reply, ScriptedApi, Server, Spot, Wait};
use landfall::testkit::{ManualClock, SeededEntropy, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// Limits of time that never come.
pub const NEVER: Duration = Duration::from_secs(1_000_000);

/// A clock on which waits pass at once. All of them begin at the same time.
pub fn env() -> Env {
    Env::deterministic(Arc::new(ManualClock::hasty(NEVER / 2)), Arc::new(SeededEntropy::new(1)))
}

async fn api(script: ApiScript, rows: u64) -> ScriptedApi {
    let api = script.env(&env()).start().await;
    fill(&api, rows);
    api
}

fn fill(api: &ScriptedApi, rows: u64) {
    (0..rows).for_each(|id| api.put(id, json!({ "name": format!("row {id}") })));
}

/// The source that reads `api`, with limits of time that never come.
pub fn rest(api: &ScriptedApi) -> RestBuilder {
    let limits = Limits::default().with_idle(NEVER).with_total(NEVER).with_body(1 << 20, 4 << 20);
    api.rest_with(|rest| rest.limits(limits).retry(Policy::default().with_attempts(20)))
}

/// Loads what `rest` reads; gives each row.
async fn load(rest: RestBuilder) -> landfall::Result<Vec<Value>> {
    load_by(rest, env()).await
}

async fn load_by(rest: RestBuilder, env: Env) -> landfall::Result<Vec<Value>> {
    let (table, store) = (MemoryTable::<Rows<Value>>::new(), Store::memory());
    let rows = from_fn("rows", |page: Page, out: &mut Output<Rows<Value>>| {
        // Of a page that overlaps the one before, the source says which records are new.
        let spans = page.spans.as_ref().expect("the source looked at the page");
        let rows = spans.iter().map(|span| serde_json::from_slice(span.of(&page.body).expect("inside")).expect("JSON"));
        out.emit(Rows(rows.collect()));
        Ok(())
    });
    let pipeline = Pipeline::named("rows")
        .source(rest.build()?)
        .land(Landing::in_store(&store, "raw")?)
        .stage(rows)
        .sink(MemorySink::new(&table))
        .accept_quarantined()
        .checkpoints(MemoryCheckpoints::default())
        .env(env)
        .build()?;
    pipeline.run().await?;
    Ok(table.rows())
}

fn right(api: &ScriptedApi, loaded: landfall::Result<Vec<Value>>) {
    assert_eq!(api.served().verdict(loaded.expect("loaded")), Verdict::default());
}

/// One of each kind.
pub fn accesses() -> Vec<Access> {
    let s = || "s".to_owned();
    vec![
        Access::Open,
        Access::Bearer(s()),
        Access::Basic("me".into(), s()),
        Access::Header("X-Key".into(), s()),
        Access::Query("key".into(), s()),
        Access::Cookie("key".into(), s()),
        Access::Keys(vec!["one".into(), "two".into()], 4),
        Access::ClientCredentials { id: "me".into(), secret: s(), requests: 2 },
        Access::RefreshToken { token: s(), rotates: false, requests: 2 },
        Access::RefreshToken { token: s(), rotates: true, requests: 2 },
        Access::JwtBearer { key: s(), requests: 2 },
        Access::Jwt(s()),
        Access::Session { user: "me".into(), password: s(), requests: 2 },
        Access::Hmac(s()),
        Access::SigV4("id".into(), s()),
    ]
}

#[tokio::test]
async fn each_paging_leads_to_every_row() {
    for paging in Paging::ALL {
        let api = api(ScriptedApi::new(paging).page_size(3), 11).await;
        let loaded = load(rest(&api)).await;
        assert_eq!(loaded.as_ref().map(Vec::len).ok(), Some(11), "{paging:?}: {loaded:?}");
        right(&api, loaded);
    }
}

/// A kind of paging or of credentials that is added needs a script.
#[test]
fn each_kind_of_the_source_has_its_script() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let client = std::fs::read_to_string(src.join("testkit/http/client.rs")).expect("readable");
    let (mut folders, mut kinds) = (vec![src.join("connectors/http")], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.extend((!path.ends_with("tests")).then_some(path));
                continue;
            }
            let text = std::fs::read_to_string(path).expect("text");
            let of = |role: &str, line: &str| line.strip_prefix(role)?.strip_suffix(" {").map(str::to_owned);
            kinds.extend(
                text.lines().filter_map(|line| of("impl Paginate for ", line).or_else(|| of("impl Auth for ", line))),
            );
        }
    }
    // Those that say that nothing was said.
    assert!(kinds.remove("NoAuth") && kinds.remove("Unsaid"));
    kinds.extend(["Export", "Parent", "Window"].map(str::to_owned));
    assert!(kinds.len() > 15, "{kinds:?}");
    let is_built = |kind: &&String| !client.contains(&format!("{kind}::")) && !client.contains(&format!("({kind})"));
    let missing: Vec<_> = kinds.iter().filter(is_built).collect();
    assert!(missing.is_empty(), "nothing in testkit::http asks for {missing:?}");
}

#[tokio::test]
async fn who_may_not_ask_is_refused_and_tokens_wear_out() {
    for access in accesses() {
        let api = api(ScriptedApi::new(Paging::Cursor).page_size(2).access(access.clone()), 9).await;
        let loaded = load(rest(&api)).await;
        assert!(loaded.is_ok(), "{access:?}: {loaded:?}");
        right(&api, loaded);
        let tokens = api.seen().iter().filter(|request| matches!(request.path(), "/token" | "/login")).count();
        let wears_out = format!("{access:?}").contains("requests");
        assert_eq!(tokens, if wears_out { 3 } else { 0 }, "{access:?}: five pages, two for each token");
        // Without credentials, or with those of somebody else.
        let open = rest(&api).auth(Bearer::new("other"));
        assert_eq!(load(open).await.is_err(), access != Access::Open, "{access:?}");
    }
}

#[tokio::test]
async fn keys_that_are_spent_are_left_alone() {
    let keys = Access::Keys(vec!["one".into(), "two".into()], 4);
    // Both by the clock of the system: by clocks of their own, the minute of one may be over before that of the other.
    let api = ScriptedApi::new(Paging::Cursor).page_size(2).access(keys).start().await;
    fill(&api, 15);
    right(&api, load_by(rest(&api), Env::system()).await);
    let seen = api.seen();
    assert_eq!(seen.len(), 8, "no request with a key that is spent");
    assert_eq!(seen.iter().filter(|request| request.headers["x-key"] == "one").count(), 4);
}

/// Everybody who has shown a certificate is let in.
#[tokio::test]
async fn connections_may_be_those_of_tls() {
    let keys = Keys::all();
    let acceptor = TlsAcceptor::from(Arc::new(keys.server()));
    let script = ScriptedApi::new(Paging::NextUrl).page_size(3).env(&env());
    let api = script
        .start_over("https", move |connection| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(connection).await.ok() }
        })
        .await;
    fill(&api, 7);
    let trusting = || Tls::new().trust(keys.authority.clone()).only();
    right(&api, load(rest(&api).tls(trusting().client(keys.client.clone(), keys.client_key.clone()))).await);
    assert!(load(rest(&api).tls(trusting()).retry(Policy::default().with_attempts(1))).await.is_err());
}

#[tokio::test]
async fn transient_faults_are_got_over_and_nothing_is_doubled() {
    for fault in Fault::TRANSIENT {
        let api = api(ScriptedApi::new(Paging::Keyset).page_size(3).fault_at(1, fault.clone()), 10).await;
        right(&api, load(rest(&api)).await);
        assert_eq!(api.counts(), (6, 1), "{fault:?}");
        let broken = api.served().rows().iter().filter(|row| !row.whole).count();
        assert!(broken == 0 || broken == 3, "{fault:?}: a page was sent in part");
    }
}

#[tokio::test]
async fn what_is_only_odd_takes_no_other_request() {
    for fault in Fault::HARMLESS.into_iter().chain([Fault::Twice, Fault::UntilClose]) {
        let api = api(ScriptedApi::new(Paging::Keyset).page_size(3).fault_at(1, fault.clone()), 10).await;
        right(&api, load(rest(&api)).await);
        assert_eq!(api.counts(), (5, 1), "{fault:?}");
        assert!(api.served().rows().iter().all(|row| row.whole));
    }
    // A delay passes on the clock of the script.
    let (script, clock) = (ScriptedApi::new(Paging::Single), ManualClock::hasty(NEVER / 2));
    let env = Env::deterministic(Arc::new(clock), Arc::new(SeededEntropy::new(1)));
    let api = script.env(&env).fault_at(0, Fault::Delay(Duration::from_secs(20))).start().await;
    fill(&api, 2);
    right(&api, load(rest(&api)).await);
    assert!(env.monotonic() >= Duration::from_secs(20));
}

#[tokio::test]
async fn what_was_not_spoiled_is_no_fault() {
    let whole = Fault::Breaks(Spot::Byte(1_000_000), Ending::Close);
    let without_tokens = [Paging::Offset, Paging::Page, Paging::Keyset].into_iter();
    let cases = without_tokens.flat_map(|paging| {
        [Fault::Repeated, Fault::Circle, Fault::Empty, Fault::Leads("/".into()), whole.clone()]
            .map(|fault| (paging, fault))
    });
    for (paging, fault) in cases {
        let api = api(ScriptedApi::new(paging).page_size(3).fault_at(1, fault.clone()), 7).await;
        right(&api, load(rest(&api)).await);
        assert_eq!(api.counts().1, 0, "{paging:?}, {fault:?}");
        assert!(api.served().rows().iter().all(|row| row.whole), "{paging:?}, {fault:?}");
    }
}

#[tokio::test]
async fn limits_of_rate_are_kept_however_they_are_said() {
    let waits = [
        (429, Wait::Date(30)),
        (429, Wait::DateAhead { wait: 30, ahead: 3_600 }),
        (503, Wait::Seconds(30)),
        (403, Wait::Seconds(30)),
        (403, Wait::Reset(30)),
        (429, Wait::ResetAt(30)),
        (429, Wait::Text("-3")),
    ];
    for (status, wait) in waits {
        let api = api(ScriptedApi::new(Paging::Offset).page_size(1).busy_after(2, status, wait), 7).await;
        let rest = rest(&api).rule(On::status(403).rate_limited());
        let rest = match wait {
            Wait::Reset(_) => rest.wait(WaitFrom::header("x-ratelimit-reset")),
            Wait::ResetAt(_) => rest.wait(WaitFrom::header("x-ratelimit-reset").epoch()),
            _ => rest,
        };
        right(&api, load(rest).await);
        assert_eq!(api.counts(), (10, 3), "{status}, {wait:?}");
    }
}

#[tokio::test]
async fn pages_that_lead_astray_are_errors_of_their_kind() {
    let other = Server::start(|_| Reply::json("[]")).await;
    let away = other.url("/x");
    let cases = [
        (Paging::Cursor, Fault::Repeated, ErrorKind::Incomplete),
        (Paging::Cursor, Fault::Circle, ErrorKind::Incomplete),
        (Paging::Cursor, Fault::Again, ErrorKind::Incomplete),
        (Paging::NextUrl, Fault::Circle, ErrorKind::Incomplete),
        (Paging::LinkHeader, Fault::Leads(away.clone()), ErrorKind::Config),
        (Paging::NextUrl, Fault::Leads(away.clone()), ErrorKind::Config),
        (Paging::Offset, Fault::Redirect(away), ErrorKind::Config),
        (Paging::Offset, Fault::Html, ErrorKind::Data),
        (Paging::Offset, Fault::Status(204), ErrorKind::Data),
        (Paging::Offset, Fault::Bomb(8 << 20), ErrorKind::Data),
        (Paging::Offset, Fault::BadUtf8, ErrorKind::Data),
    ];
    for (paging, fault, kind) in cases {
        for at in [0, 1] {
            // Nothing came before the first.
            if fault == Fault::Again && at == 0 {
                continue;
            }
            let api = api(ScriptedApi::new(paging).page_size(2).fault_at(at, fault.clone()), 8).await;
            let error = load(rest(&api)).await.expect_err("it must not go on");
            assert_eq!(error.kind(), kind, "{paging:?}, {fault:?} at {at}: {error}");
            assert_eq!(api.counts().1, 1, "{paging:?}, {fault:?} at {at}");
        }
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn an_empty_page_with_a_next_one_is_no_end() {
    for paging in [Paging::Cursor, Paging::CursorInHeader, Paging::CursorInBody, Paging::NextUrl, Paging::LinkHeader] {
        let script = ScriptedApi::new(paging).page_size(2).fault_at(1, Fault::Empty).fault_at(2, Fault::Empty);
        let api = api(script, 8).await;
        right(&api, load(rest(&api)).await);
        assert_eq!(api.counts(), (6, 2), "{paging:?}");
    }
}

#[tokio::test]
async fn rows_that_move_are_served_as_such() {
    let moved = ScriptedApi::new(Paging::Keyset).page_size(2).fault_at(1, Fault::Moved).start().await;
    fill(&moved, 6);
    let loaded = load(rest(&moved)).await.expect("loaded");
    let version = |n: u64| loaded.iter().any(|row| row["id"] == 0 && row["version"] == n);
    assert!(version(0) && version(1), "both versions: {loaded:?}");
    assert_eq!(moved.served().verdict(loaded), Verdict::default());
    moved.remove(3);
    assert!(!moved.served().held().contains_key(&3));
}

#[tokio::test]
async fn one_seed_is_one_script() {
    let mut served = BTreeSet::new();
    for seed in [1, 1, 2] {
        let script = ScriptedApi::new(Paging::Keyset).page_size(1).faults_drawn(seed, 300, Fault::TRANSIENT);
        let api = api(script, 20).await;
        right(&api, load(rest(&api)).await);
        let (requests, faults) = api.counts();
        assert!(requests > 20 && faults > 0);
        served.insert(api.served().rows().iter().map(|row| (row.page, row.id, row.whole)).collect::<Vec<_>>());
    }
    assert_eq!(served.len(), 2);
}

#[tokio::test]
async fn a_server_that_is_idle_has_seen_all_that_was_sent() {
    let server = Server::start(|_| Reply::status(200, "")).await;
    for number in 0..20 {
        let address = server.url("").rsplit('/').next().expect("an address").to_owned();
        let mut client = tokio::net::TcpStream::connect(address).await.expect("a connection");
        tokio::io::AsyncWriteExt::write_all(&mut client, b"GET /x HTTP/1.1\r\n\r\n").await.expect("sent");
        drop(client);
        server.idle().await;
        assert_eq!(server.seen().len(), number + 1);
    }
}
