use super::world::{Api, Asked, World, rows};
use landfall::connectors::http::{Cursor, Parent, Rest, RestBuilder, Since};
use landfall::source::list_partitions;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

fn listing(url: String) -> RestBuilder {
    Rest::get(url).records("$.data[*]").paginate(Cursor::at("$.next").query("cursor"))
}

/// Children of the parents, which are incremental and give their time as `_of`.
fn children(api: &Api) -> RestBuilder {
    let parents = listing(api.url("/parents")).since(Since::field("t").query("since"));
    listing(api.url("/parents/{parent}/children"))
        .parent(Parent::of(parents).bind("parent", "$.id").include("t", "_of"))
}

/// Two children of parent 7: 70 and 71.
fn of(asked: &Asked) -> (u16, String) {
    let parent: i64 = asked.0.path().split('/').nth(2).expect("a parent").parse().expect("a number");
    rows(&[(10 * parent, 0), (10 * parent + 1, 0)], None)
}

#[tokio::test]
async fn the_state_of_a_parent_moves_only_after_all_its_children() {
    let broken = Arc::new(AtomicBool::new(true));
    let breaks = Arc::clone(&broken);
    let api = Api::start(move |asked| match asked.0.path() {
        "/parents" => {
            let since = asked.number("since").unwrap_or(0);
            rows(&[(1, 1), (2, 2), (3, 3)].into_iter().filter(|(_, t)| *t >= since).collect::<Vec<_>>(), None)
        }
        "/parents/1/children" if breaks.load(Ordering::SeqCst) => (403, "{}".to_owned()),
        _ => of(asked),
    })
    .await;
    let world = World::new();
    world.run("children", children(&api)).await.expect_err("the children of 1 fail");
    assert_eq!(world.column("id"), [20, 21, 30, 31], "others are loaded all the same");
    assert_eq!(world.column("_of"), [2, 2, 3, 3], "with what their parent gives them");
    broken.store(false, Ordering::SeqCst);
    api.take_asked();
    world.run("children", children(&api)).await.expect("complete");
    assert_eq!(api.take_asked()[0], "/parents", "the parent has not moved");
    assert_eq!(world.column("id"), [10, 11, 20, 21, 30, 31]);
    world.run("children", children(&api)).await.expect("complete");
    assert_eq!(api.take_asked(), ["/parents?since=3", "/parents/3/children"]);
    assert_eq!(world.column("id").len(), 6);
}

#[tokio::test]
async fn parents_without_records_close_and_a_parent_that_comes_twice_is_read_once() {
    let api = Api::start(|asked| match asked.0.path() {
        "/parents" if asked.parameter("cursor").is_some() => rows(&[(1, 3), (4, 4)], None),
        "/parents" => rows(&[(1, 1), (1, 1), (2, 2)], Some("2")),
        "/parents/2/children" => rows(&[], None),
        _ => of(asked),
    })
    .await;
    let world = World::new();
    for _ in 0..2 {
        world.run("children", children(&api)).await.expect("complete");
        assert_eq!(world.column("id"), [10, 11, 40, 41]);
        let asked = api.take_asked();
        assert_eq!(asked.iter().filter(|path| path.contains("/1/children")).count(), 1, "{asked:?}");
    }
    let nobody = Api::start(|_| rows(&[], None)).await;
    World::new().run("children", children(&nobody)).await.expect("complete");
}

#[tokio::test]
async fn each_of_many_partitions_has_a_state_of_its_own_and_a_late_one_gets_its_full_history() {
    const MANY: usize = 1_001;
    let asked_since = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&asked_since);
    let api = Api::start(move |asked| {
        let of = asked.number("of").expect("of a partition");
        let since = asked.number("since");
        seen.lock().expect("not poisoned").insert((of, since));
        rows(&[(of, of + 1)], None)
    })
    .await;
    let many = |n: usize| {
        let rest = Rest::get(api.url("/r")).query("of", "{of}").records("$.data[*]");
        rest.since(Since::field("t").query("since")).partition_by("of", (0..n).map(|n| n.to_string()))
    };
    let partitions = list_partitions(&many(MANY).build().expect("a source"), &landfall::env::Env::system()).await;
    assert_eq!(partitions.expect("listed").len(), MANY);
    let world = World::new();
    world.run("many", many(MANY - 1)).await.expect("complete");
    asked_since.lock().expect("not poisoned").clear();
    world.run("many", many(MANY)).await.expect("complete");
    let asked = asked_since.lock().expect("not poisoned").clone();
    let expected = (0..MANY as i64).map(|of| (of, (of < MANY as i64 - 1).then_some(of + 1)));
    assert_eq!(asked, expected.collect());
    assert_eq!(world.column("id").len(), MANY);
}

#[tokio::test]
async fn parents_in_csv_and_xml_bind_and_give_their_values_as_those_in_json_do() {
    let csv = "id,name,t\r\n1,\"a, \"\"b\"\"\",5\r\n2,ü,6\r\n";
    let xml = "<r><parent code=\"x\"><id>1</id><t>5</t></parent><parent code=\"y\"><id>2</id><t>6</t></parent></r>";
    for (records, body) in [("csv", csv), ("/r/parent", xml)] {
        let api = Api::start(move |asked| match asked.0.path() {
            "/parents" => (200, body.to_owned()),
            _ => of(asked),
        })
        .await;
        let parents = Rest::get(api.url("/parents")).records(records).since(Since::field("t").query("since"));
        let rest = listing(api.url("/parents/{parent}/children"))
            .parent(Parent::of(parents).bind("parent", "$.id").include("$.t", "_of"));
        let world = World::new();
        world.run("children", rest.clone()).await.expect("complete");
        assert_eq!(world.column("id"), [10, 11, 20, 21], "{records}");
        assert_eq!(world.column("_of"), [5, 5, 6, 6], "{records}");
        api.take_asked();
        world.run("children", rest).await.expect("complete");
        assert_eq!(api.take_asked()[0], "/parents?since=6", "{records}: the parent has moved");
    }
}

#[tokio::test]
async fn a_row_or_element_of_a_parent_without_a_value_is_an_error_that_names_it() {
    let csv = "id,t\r\n1,5\r\n,6\r\n";
    let xml = "<r><parent><id>1</id></parent><parent><t>6</t></parent></r>";
    for (records, body) in [("csv", csv), ("/r/parent", xml)] {
        let api = Api::start(move |asked| match asked.0.path() {
            "/parents" => (200, body.to_owned()),
            _ => of(asked),
        })
        .await;
        let parents = || Parent::of(Rest::get(api.url("/parents")).records(records)).bind("parent", "$.id");
        let rest = |parent| listing(api.url("/parents/{parent}/children")).parent(parent);
        let error = World::new().run("children", rest(parents())).await.expect_err("no value").to_string();
        assert!(error.contains("$.id") && error.contains("record=`1`"), "{error}");
        let world = World::new();
        world.run("children", rest(parents().skip_without_value())).await.expect("passed over");
        assert_eq!(world.column("id"), [10, 11], "{records}");
    }
}
