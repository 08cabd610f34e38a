//! The scripted API of the testkit, read by the REST source.

use landfall::checkpoint::MemoryCheckpoints;
use landfall::connectors::http::{
    ApiKey, Basic, Bearer, Cursor, Keyset, Limits, LinkHeader, NextUrl, OAuth2, Offset, PageNumber, Rest, RestBuilder,
};
use landfall::env::Env;
use landfall::landing::Landing;
use landfall::model::{Page, Rows};
use landfall::pipeline::Pipeline;
use landfall::retry::Policy;
use landfall::sink::{MemorySink, MemoryTable};
use landfall::stage::{Output, from_fn};
use landfall::store::Store;
use landfall::testkit::http::{Access, ApiScript, Fault, Paging, RetryAfter, ScriptedApi};
use landfall::testkit::{ManualClock, SeededEntropy, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Limits of time that never come.
pub const NEVER: Duration = Duration::from_secs(1_000_000);

/// A clock on which waits pass at once. All of them begin at the same time.
pub fn env() -> Env {
    Env::deterministic(Arc::new(ManualClock::hasty(NEVER / 2)), Arc::new(SeededEntropy::new(1)))
}

async fn api(script: ApiScript, rows: u64) -> ScriptedApi {
    let api = script.env(&env()).start().await;
    (0..rows).for_each(|id| api.put(id, json!({ "name": format!("row {id}") })));
    api
}

pub fn rest(api: &ScriptedApi, paging: Paging) -> RestBuilder {
    let rest = Rest::get(api.url())
        .limits(Limits::default().with_idle(NEVER).with_total(NEVER))
        .retry(Policy::default().with_attempts(20));
    let rest = if paging == Paging::LinkHeader { rest.records("$[*]") } else { rest.records("$.records[*]") };
    match paging {
        Paging::Offset => rest.paginate(Offset::query("offset").limit("limit", 3).total("$.total")),
        Paging::Page => rest.paginate(PageNumber::query("page").size("limit", 3).total_pages("$.pages")),
        Paging::Cursor => rest.paginate(Cursor::at("$.next_cursor").query("cursor")),
        Paging::Keyset => rest.paginate(Keyset::of("changed").query("after")),
        Paging::NextUrl => rest.paginate(NextUrl::at("$.next")),
        _ => rest.paginate(LinkHeader::new()),
    }
}

/// Loads what `rest` reads; gives id and version of each row.
async fn load(rest: RestBuilder) -> landfall::Result<Vec<(u64, u64)>> {
    let (table, store) = (MemoryTable::<Rows<(u64, u64)>>::new(), Store::memory());
    let rows = from_fn("rows", |page: Page, out: &mut Output<Rows<(u64, u64)>>| {
        // Of a page that overlaps the one before, the source says which records are new.
        let spans = page.spans.as_ref().expect("the source looked at the page");
        let rows = spans.iter().map(|span| serde_json::from_slice(span.of(&page.body).expect("inside")).expect("JSON"));
        let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
        out.emit(Rows(rows.map(|row: Value| (number(&row, "id"), number(&row, "version"))).collect()));
        Ok(())
    });
    let pipeline = Pipeline::named("rows")
        .source(rest.build()?)
        .land(Landing::in_store(&store, "raw")?)
        .stage(rows)
        .sink(MemorySink::new(&table))
        .accept_quarantined()
        .checkpoints(MemoryCheckpoints::default())
        .env(env())
        .build()?;
    pipeline.run().await?;
    Ok(table.rows())
}

fn right(api: &ScriptedApi, loaded: landfall::Result<Vec<(u64, u64)>>) {
    assert_eq!(api.served().verdict(loaded.expect("loaded")), Verdict::default());
}

#[tokio::test]
async fn each_paging_leads_to_every_row() {
    for paging in Paging::ALL {
        let api = api(ScriptedApi::new(paging).page_size(3), 11).await;
        let loaded = load(rest(&api, paging)).await;
        assert_eq!(loaded.as_ref().map(Vec::len).ok(), Some(11), "{paging:?}: {loaded:?}");
        right(&api, loaded);
    }
}

#[tokio::test]
async fn who_may_not_ask_is_refused_and_tokens_wear_out() {
    let client = |requests| Access::ClientCredentials { id: "me".into(), secret: "s".into(), requests };
    let kinds = [
        Access::Bearer("s".into()),
        Access::Basic("me".into(), "s".into()),
        Access::Header("X-Key".into(), "s".into()),
        Access::Query("key".into(), "s".into()),
        client(2),
    ];
    for access in kinds {
        let api = api(ScriptedApi::new(Paging::Cursor).page_size(2).access(access.clone()), 9).await;
        let rest = || rest(&api, Paging::Cursor);
        let with = match &access {
            Access::Bearer(token) => rest().auth(Bearer::new(token.clone())),
            Access::Basic(user, password) => rest().auth(Basic::new(user.clone(), password.clone())),
            Access::Header(name, key) => rest().auth(ApiKey::header(name.clone(), key.clone())),
            Access::Query(name, key) => rest().auth(ApiKey::query(name.clone(), key.clone())),
            _ => rest().auth(OAuth2::client_credentials(api.token_url(), "me", "s")),
        };
        right(&api, load(with).await);
        assert!(load(rest()).await.is_err(), "{access:?}: without credentials");
        let tokens = api.seen().iter().filter(|request| request.path() == "/token").count();
        assert_eq!(tokens, if access == client(2) { 3 } else { 0 }, "five pages, two for each token");
    }
}

#[tokio::test]
async fn transient_faults_are_got_over_and_nothing_is_doubled() {
    for fault in Fault::TRANSIENT {
        let api = api(ScriptedApi::new(Paging::Keyset).page_size(3).fault_at(1, fault.clone()), 10).await;
        right(&api, load(rest(&api, Paging::Keyset)).await);
        assert_eq!(api.counts(), (6, 1), "{fault:?}");
        let broken = api.served().rows().iter().filter(|row| !row.whole).count();
        assert!(broken == 0 || broken == 3, "{fault:?}: a page was sent in part");
    }
    let busy = ScriptedApi::new(Paging::Offset).page_size(1).busy_after(2, RetryAfter::Date(30));
    let api = api(busy, 7).await;
    right(&api, load(rest(&api, Paging::Offset)).await);
    assert!(api.counts().1 >= 1);
}

#[tokio::test]
async fn a_token_that_is_repeated_and_rows_that_move_are_served_as_such() {
    let api = api(ScriptedApi::new(Paging::Cursor).page_size(2).fault_at(1, Fault::Repeated), 8).await;
    assert!(load(rest(&api, Paging::Cursor)).await.is_err(), "a circle");
    let moved = ScriptedApi::new(Paging::Keyset).page_size(2).fault_at(1, Fault::Moved).start().await;
    (0..6).for_each(|id| moved.put(id, json!({})));
    let loaded = load(rest(&moved, Paging::Keyset)).await.expect("loaded");
    assert!(loaded.contains(&(0, 0)) && loaded.contains(&(0, 1)), "both versions: {loaded:?}");
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
        right(&api, load(rest(&api, Paging::Keyset)).await);
        let (requests, faults) = api.counts();
        assert!(requests > 20 && faults > 0);
        served.insert(api.served().rows().iter().map(|row| (row.page, row.id, row.whole)).collect::<Vec<_>>());
    }
    assert_eq!(served.len(), 2);
}
