//! Reads at the same time, which share memory, places among the calls and the gate for parts: none waits for ever. Each of
//! these hangs where two wait for each other.

use super::*;
use crate::retry::Concurrency;
use crate::source::Gate;
use std::collections::BTreeSet;

/// Bytes that one read may hold: half of what it is told.
const HALF: u64 = 500;

/// Reads all partitions at the same time with `bytes` of memory, each from where it is said.
async fn read_together(rest: &Rest, bytes: usize, from: &[Option<RestPosition>]) -> Vec<Result<StopReason>> {
    let env = Env::deterministic(Arc::new(FastClock::default()), Arc::new(Dice::default()));
    let (budget, gate) = (Arc::new(Semaphore::new(bytes)), Gate::default());
    let (queue, mut emissions) = mpsc::channel(10);
    let (_stop, stopped) = watch::channel(false);
    let partitions = listed(rest).await;
    let reads = partitions.iter().zip(from).map(|(partition, from)| {
        let out = Emitter::new(partition.clone(), Arc::clone(&budget), 2 * HALF, queue.clone(), stopped.clone());
        let (mut out, env) = (out.with_gate(gate.clone()), &env);
        async move { rest.read(env, partition, from.clone(), &mut out).await }
    });
    let reads = futures::future::join_all(reads.collect::<Vec<_>>());
    drop(queue);
    let written = async { while emissions.recv().await.is_some() {} };
    futures::join!(reads, written).0
}

fn of_partitions<const N: usize>(server: &Server, names: [&str; N]) -> RestBuilder {
    let rest = Rest::get(server.url("/{name}")).records("$.data[*]").limits(patient());
    names.into_iter().fold(rest, |rest, name| rest.partition(name, [("name", name)]))
}

/// Answers by `script`, but breaks off the first time that it is asked for something.
async fn breaks_off_first(script: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Server {
    let known = Mutex::new(BTreeSet::new());
    Server::start(move |got| {
        let is_first = known.lock().expect("not poisoned").insert(got.target.clone());
        if is_first { script(got).cut_at(5) } else { script(got) }
    })
    .await
}

#[tokio::test]
async fn reads_that_broke_off_hold_no_memory_while_they_wait_for_a_place() {
    let server = breaks_off_first(|_| page([1], "null")).await;
    let rest = of_partitions(&server, ["a", "b", "c"]).concurrency(Concurrency::fixed(1)).build().expect("a source");
    let ends = read_together(&rest, 1_000, &[const { None }; 3]).await;
    assert!(ends.iter().all(|end| end.as_ref().is_ok_and(StopReason::is_complete)), "{ends:?}");
}

/// Eight pages of a record, which say how many there are.
fn eight(got: &Got) -> Reply {
    let offset: u64 = got.parameter("offset").and_then(|offset| offset.parse().ok()).unwrap_or_default();
    let ids: Vec<_> = (offset..8).take(1).map(|id| format!("{{\"id\":{id}}}")).collect();
    Reply::json(format!("{{\"data\":[{}],\"total\":8}}", ids.join(",")))
}

#[tokio::test]
async fn pages_that_are_asked_for_ahead_hold_no_memory_while_they_wait_for_a_place() {
    for places in [1, 3, 8] {
        for server in [Server::start(eight).await, breaks_off_first(eight).await] {
            let rest = of_partitions(&server, ["a", "b", "c"]).concurrency(Concurrency::fixed(places));
            let rest = rest.paginate(Offset::query("offset").total("$.total")).parallel_pages(4);
            let ends = read_together(&rest.build().expect("a source"), 1_100, &[const { None }; 3]).await;
            assert!(ends.iter().all(|end| end.as_ref().is_ok_and(StopReason::is_complete)), "{ends:?}");
        }
    }
}

#[tokio::test]
async fn a_read_gives_up_the_parts_of_a_page_that_it_cannot_use_before_it_waits_for_a_place() {
    let large = |total: &str| {
        let records: Vec<_> = (0..1_000).map(|id| format!("{{\"id\":{id}}}")).collect();
        Reply::json(format!("{{\"data\":[{}],\"total\":{total},\"next\":null}}", records.join(",")))
    };
    let server = Server::start(move |got| match (got.path(), got.parameter("cursor")) {
        ("/a", None) => Reply::json("{\"data\":[{\"id\":1}],\"total\":2,\"next\":\"more\"}"),
        ("/a", Some(_)) => large("\"unknown\""),
        _ => large("1000"),
    })
    .await;
    let rest = of_partitions(&server, ["a", "b"]).concurrency(Concurrency::fixed(1));
    let rest = rest.paginate(Cursor::at("$.next").query("cursor")).total("$.total").limits(patient().with_part(1_000));
    let rest = rest.build().expect("a source");
    let first = read(&rest, None).await;
    assert_eq!(first.error().kind(), ErrorKind::Data, "{}", first.error());
    // It goes on at the page that cannot be used, and begins again.
    let ends = read_together(&rest, 10_000, &[Some(first.position(0)), None]).await;
    assert_eq!(ends[0].as_ref().expect_err("as before").kind(), ErrorKind::Data);
    assert!(ends[1].as_ref().is_ok_and(StopReason::is_complete), "{ends:?}");
    assert_eq!(server.seen().iter().filter(|got| got.path() == "/a").count(), 2 + 3);
}
