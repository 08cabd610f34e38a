//! A process that dies at each step: at every request after the API has done what it was asked for, and at every operation on a
//! store before and after it. The next one must bring everything, once.

use super::world::{Api, Asked, World, rows};
use landfall::connectors::http::{Cursor, Export, Parent, Rest, RestBuilder, Since};
use landfall::testkit::{Faults, Mode, Plan};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// Where a process dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// The API has done what it was asked for, and the answer is not heard.
    AtRequest(i64),
    AtStore(Plan),
}

/// How many requests are answered before none is any more; all, if it is negative.
type Answers = Arc<AtomicI64>;

/// Whether this request is the last thing that is done.
fn is_last(answers: &Answers) -> bool {
    answers.fetch_sub(1, Ordering::SeqCst) == 0
}

/// A process that dies, and what it leaves is its own affair.
async fn dies(world: &World, api: &Api, source: RestBuilder, death: Death, answers: &Answers) -> Faults {
    let faults = match death {
        Death::AtRequest(number) => {
            answers.store(number, Ordering::SeqCst);
            Faults::none()
        }
        Death::AtStore(plan) => Faults::of([plan]),
    };
    let world = world.through(&faults);
    tokio::select! {
        biased;
        () = api.silent() => {}
        ended = world.run("w", source) => drop(ended),
    }
    api.idle().await;
    answers.store(i64::MIN / 2, Ordering::SeqCst);
    faults
}

fn deaths(requests: i64, points: u64) -> impl Iterator<Item = Death> {
    // To die before an operation is to die after the one before.
    let after = (0..points).map(|at| Plan { at, mode: Mode::AfterLostResponse });
    let at_store = [Plan { at: 0, mode: Mode::Before }].into_iter().chain(after);
    (0..requests).map(Death::AtRequest).chain(at_store.map(Death::AtStore))
}

/// Parents 1 to 3 on two pages, each with children on two pages.
fn family(answers: &Answers) -> impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static {
    let answers = Arc::clone(answers);
    move |asked| {
        if is_last(&answers) {
            return (0, String::new());
        }
        let second = asked.parameter("cursor").is_some();
        let next = (!second).then_some("2");
        let since = asked.number("since").unwrap_or(0);
        let parents = |of: &[(i64, i64)]| of.iter().copied().filter(|(_, t)| *t >= since).collect::<Vec<_>>();
        match asked.0.path() {
            "/parents" if second => rows(&parents(&[(3, 3)]), None),
            "/parents" => rows(&parents(&[(1, 1), (2, 2)]), next),
            path => {
                let parent: i64 = path.split('/').nth(2).expect("a parent").parse().expect("a number");
                rows(&[(10 * parent + i64::from(second), 0)], next)
            }
        }
    }
}

fn children(api: &Api) -> RestBuilder {
    let listing = |url| Rest::get(url).records("$.data[*]").paginate(Cursor::at("$.next").query("cursor"));
    let parents = listing(api.url("/parents")).since(Since::field("t").query("since"));
    listing(api.url("/parents/{parent}/children"))
        .parent(Parent::of(parents).bind("parent", "$.id").include("t", "_of"))
}

#[tokio::test]
async fn a_parent_moves_only_after_its_children_wherever_a_process_dies() {
    let answers = Answers::new(AtomicI64::new(i64::MIN / 2));
    let api = Api::start(family(&answers)).await;
    let (world, faults) = (World::new(), Faults::none());
    world.through(&faults).run("w", children(&api)).await.expect("complete");
    let requests = i64::try_from(api.take_asked().len()).expect("few");
    assert_eq!(requests, 8);
    for death in deaths(requests, faults.count()) {
        let api = Api::start(family(&answers)).await;
        let world = World::new();
        dies(&world, &api, children(&api), death, &answers).await;
        world.run("w", children(&api)).await.unwrap_or_else(|e| panic!("{death:?}: {e}"));
        assert_eq!(world.column("id"), [10, 11, 20, 21, 30, 31], "{death:?}");
        assert_eq!(world.column("_of"), [1, 1, 2, 2, 3, 3], "{death:?}");
        // Now that all are there, only what lies at the bound is asked for again.
        api.take_asked();
        world.run("w", children(&api)).await.unwrap_or_else(|e| panic!("{death:?}: {e}"));
        let asked = api.take_asked();
        assert!(asked[0].starts_with("/parents?since=3"), "{death:?}: {asked:?}");
        assert!(!asked.iter().any(|path| path.contains("/1/") || path.contains("/2/")), "{death:?}: {asked:?}");
    }
}

/// What an API does with its jobs: whether each is deleted.
type Jobs = Arc<Mutex<BTreeMap<u64, bool>>>;

/// Jobs that are done at once, with three files of one row each; those that were deleted are not known any more.
fn exports(answers: &Answers, jobs: &Jobs) -> impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static {
    let (answers, jobs) = (Arc::clone(answers), Arc::clone(jobs));
    move |asked| {
        let mut jobs = jobs.lock().expect("not poisoned");
        let path: Vec<&str> = asked.0.path().trim_matches('/').split('/').collect();
        let id = || path[1].parse::<u64>().expect("a job");
        let is_known = |jobs: &BTreeMap<u64, bool>| jobs.get(&id()) == Some(&false);
        let answer = match path[0] {
            "create" => {
                let id = jobs.len() as u64 + 1;
                jobs.insert(id, false);
                (201, format!("{{\"id\":{id}}}"))
            }
            "delete" if is_known(&jobs) => {
                jobs.insert(id(), true);
                (204, String::new())
            }
            _ if !is_known(&jobs) => (404, "{}".to_owned()),
            "poll" => {
                let files: Vec<String> = (0..3).map(|n| format!("\"/file/{}/{n}\"", id())).collect();
                (200, format!("{{\"status\":\"done\",\"rows\":3,\"urls\":[{}]}}", files.join(",")))
            }
            _ => (200, format!("{{\"id\":{},\"t\":0}}\n", path[2])),
        };
        if is_last(&answers) { (0, String::new()) } else { answer }
    }
}

fn exporting(api: &Api) -> RestBuilder {
    let export = Export::poll("/poll/{id}").status_at("$.status").download_at("$.urls[*]").rows_at("$.rows");
    Rest::post(api.url("/create")).json(serde_json::json!({})).export(export.delete("/delete/{id}")).records("ndjson")
}

#[tokio::test]
async fn an_export_brings_every_row_once_and_leaks_no_job_it_knew_of_wherever_a_process_dies() {
    let answers = Answers::new(AtomicI64::new(i64::MIN / 2));
    let api = Api::start(exports(&answers, &Jobs::default())).await;
    let (world, faults) = (World::new(), Faults::none());
    world.through(&faults).run("w", exporting(&api)).await.expect("complete");
    let asked = api.take_asked();
    assert_eq!(asked.len(), 6, "{asked:?}");
    let mut leaked = 0;
    for death in deaths(asked.len() as i64, faults.count()) {
        let jobs = Jobs::default();
        let api = Api::start(exports(&answers, &jobs)).await;
        let world = World::new();
        dies(&world, &api, exporting(&api), death, &answers).await;
        api.take_asked();
        world.run("w", exporting(&api)).await.unwrap_or_else(|e| panic!("{death:?}: {e}"));
        assert_eq!(world.column("id"), [0, 1, 2], "{death:?}");
        let knew_of_it = api.take_asked().contains(&"/poll/1".to_owned());
        let jobs = jobs.lock().expect("not poisoned").clone();
        let left = jobs.values().filter(|is_deleted| !**is_deleted).count();
        assert!(jobs.len() <= 2 && left <= 1, "{death:?}: {jobs:?}");
        // Only a job of which nothing was durable yet: nobody could ask for it again.
        let unknown = !knew_of_it && jobs == BTreeMap::from([(1, false), (2, true)]);
        assert!(left == 0 || unknown, "{death:?}: {jobs:?}");
        leaked += left;
    }
    assert!(leaked > 0, "the answer to a creation was lost");
}
