//! A source over HTTP, against servers that say what a scenario needs.

use landfall::ErrorKind;
use landfall::checkpoint::StoreCheckpoints;
use landfall::columnar::arrow::array::AsArray;
use landfall::columnar::arrow::datatypes::Int64Type;
use landfall::columnar::{Batch, Columns, Decode, Dedup};
use landfall::connectors::http::{Bearer, Edge, Rest, RestBuilder, Since};
use landfall::landing::Landing;
use landfall::pipeline::{Pipeline, RunFailure, RunReport};
use landfall::sink::{MemorySink, MemoryTable, Quarantine};
use landfall::store::Store;
use landfall::testkit::http::{Fault, Paging, Reply, ScriptedApi, Server};

/// What outlives a run.
struct World {
    store: Store,
    table: MemoryTable<Batch>,
}

impl World {
    fn new() -> Self {
        Self { store: Store::memory(), table: MemoryTable::new() }
    }

    async fn run(&self, rest: RestBuilder) -> Result<RunReport, RunFailure> {
        let columns = Columns::new().int64("id").int64("at");
        let pipeline = Pipeline::named("rows")
            .source(rest)
            .land(Landing::in_store(&self.store, "raw").expect("a name"))
            .stage(Decode::pages().schema(columns))
            .stage(Dedup::by(["id"]))
            .sink(MemorySink::new(&self.table))
            .quarantine(Quarantine::in_store(&self.store, "quarantine").expect("a name"))
            .checkpoints(StoreCheckpoints::new(&self.store, "state").expect("a name"))
            .build()
            .expect("complete");
        pipeline.run().await
    }

    fn ids(&self) -> Vec<i64> {
        let of = |batch: &Batch| batch.column("id").expect("declared").as_primitive::<Int64Type>().values().to_vec();
        let mut ids: Vec<i64> = self.table.items().iter().flat_map(of).collect();
        ids.sort_unstable();
        ids
    }
}

/// By a link in the data, and by a redirect.
pub async fn nothing_is_asked_of_another_origin() {
    let other = Server::start(|_| Reply::json(r#"{"next":null,"records":[{"id":2,"at":2}]}"#)).await;
    for fault in [Fault::Leads(other.url("/x")), Fault::Redirect(other.url("/x"))] {
        let api = ScriptedApi::new(Paging::NextUrl).page_size(1).fault_at(0, fault).start().await;
        (1..3).for_each(|id| api.put(id, serde_json::json!({ "at": 1 })));
        let ended = World::new().run(api.rest().auth(Bearer::new("t0ken"))).await;
        assert_eq!(other.targets(), [""; 0], "requests of another origin");
        assert_eq!(ended.expect_err("the link leads elsewhere").error().kind(), ErrorKind::Config);
    }
}

pub async fn a_listing_that_goes_in_circles_is_an_error() {
    // Forty times, so that it ends even where nobody notices.
    let script = ScriptedApi::new(Paging::Cursor).page_size(1);
    let script = (0..40).fold(script, |script, request| script.fault_at(request, Fault::Repeated));
    let api = script.start().await;
    (0..2).for_each(|id| api.put(id, serde_json::json!({ "at": 1 })));
    World::new().run(api.rest()).await.expect_err("a listing that goes in circles is taken for a whole one");
    assert!(api.counts().0 < 10, "{} requests", api.counts().0);
}

pub async fn a_page_that_is_refused_is_not_left_out() {
    let api = ScriptedApi::new(Paging::Page).page_size(1).fault_at(2, Fault::Status(403)).start().await;
    (0..4).for_each(|id| api.put(id, serde_json::json!({ "at": 1 })));
    let failure = World::new().run(api.rest()).await.expect_err("a page is missing, and nobody says so");
    assert_eq!(failure.error().kind(), ErrorKind::Auth, "{failure}");
}

pub async fn lines_of_which_the_end_is_not_known_are_no_page() {
    // Cut after the second of three lines. Without a length, that looks like the end.
    let server = Server::start(|_| {
        let lines = "{\"id\":1,\"at\":1}\n{\"id\":2,\"at\":1}\n";
        Reply::status(200, lines).header("content-type", "application/x-ndjson").until_close()
    })
    .await;
    let world = World::new();
    let failure = world.run(Rest::get(server.url("/rows")).records("ndjson")).await;
    let failure = failure.expect_err("a body that may be cut is taken for a whole one");
    assert_eq!(failure.error().kind(), ErrorKind::Data, "{failure}");
    assert!(world.ids().is_empty());
}

/// A row is committed at the API after a later one was read.
pub async fn rows_that_come_late_are_read_by_the_overlap() {
    let server = Server::start(|request| {
        let since: i64 = request.parameter("since").and_then(|n| n.parse().ok()).unwrap_or(0);
        let rows = [(1, 1_000), (2, 2_000), (3, 1_990)];
        // The last one is there from the second run on.
        let there = rows.into_iter().take(if request.number == 0 { 2 } else { 3 });
        listing(there.filter(|(_, at)| *at >= since).map(|(id, at)| (id, Some(at))))
    })
    .await;
    let world = World::new();
    let rest =
        || Rest::get(server.url("/rows")).records("$[*]").since(Since::field("at").query("since").overlap_number(60));
    world.run(rest()).await.expect("no faults");
    world.run(rest()).await.expect("no faults");
    assert_eq!(world.ids(), [1, 2, 3], "rows that came late are missing: asked {:?}", server.targets());
}

/// The API gives rows after the bound, and another row has come with the value of the last one.
pub async fn rows_at_the_bound_are_read_again() {
    let server = Server::start(|request| {
        let since: i64 = request.parameter("since").and_then(|n| n.parse().ok()).unwrap_or(0);
        let there = [(1, 10), (2, 20), (3, 20)].into_iter().take(if request.number == 0 { 2 } else { 3 });
        listing(there.filter(|(_, at)| *at > since).map(|(id, at)| (id, Some(at))))
    })
    .await;
    let world = World::new();
    let since = || Since::field("at").query("since").lower(Edge::Exclusive);
    let rest = || Rest::get(server.url("/rows")).records("$[*]").since(since());
    world.run(rest()).await.expect("no faults");
    world.run(rest()).await.expect("no faults");
    let asked = server.targets();
    assert_eq!(world.ids(), [1, 2, 3], "rows that share the value of the last one are missing: asked {asked:?}");
}

/// The API compares a bound with nothing, so rows without a value come only where it is asked for all.
pub async fn rows_without_a_cursor_value_are_read() {
    let server = Server::start(|request| {
        let since: Option<i64> = request.parameter("since").and_then(|n| n.parse().ok());
        let rows = [(1, Some(10)), (2, None), (3, Some(20))].into_iter();
        listing(rows.filter(|(_, at)| since.is_none_or(|since| at.is_some_and(|at| at >= since))))
    })
    .await;
    let world = World::new();
    let rest = Rest::get(server.url("/rows")).records("$[*]").since(Since::field("at").query("since"));
    world.run(rest).await.expect("no faults");
    assert_eq!(world.ids(), [1, 2, 3], "rows without a value are missing: asked {:?}", server.targets());
}

/// The first row changes, and so moves to the end, before the second page is asked for.
pub async fn rows_that_move_under_the_offset_are_found() {
    let api = ScriptedApi::new(Paging::Offset).page_size(2).fault_at(1, Fault::Moved).start().await;
    (1..=6).for_each(|id| api.put(id, serde_json::json!({ "at": 1 })));
    let world = World::new();
    world.run(api.rest()).await.expect("it finds its place again");
    assert_eq!(world.ids(), Vec::from_iter(1..=6), "rows that moved up are missing");
}

fn listing(rows: impl Iterator<Item = (i64, Option<i64>)>) -> Reply {
    let rows: Vec<_> = rows.map(|(id, at)| serde_json::json!({ "id": id, "at": at })).collect();
    Reply::json(serde_json::Value::from(rows).to_string())
}
