use super::*;
use crate::model::{PartitionId, Proof};
use crate::source::{Listed, Listing, list};
use std::collections::{BTreeMap, BTreeSet};

/// Posts 1 to 3 in pages of two, or the comments of one: two pages each.
fn blog(got: &Got) -> Reply {
    let second = got.parameter("cursor").is_some();
    let next = if second { "null" } else { "\"2\"" };
    match got.path().split('/').collect::<Vec<_>>()[..] {
        ["", "posts"] => {
            let posts = if second { r#"{"id":3,"title":"c"}"# } else { r#"{"id":1,"title":"a"},{"id":2,"title":"b"}"# };
            Reply::json(format!("{{\"data\":[{posts}],\"next\":{next}}}"))
        }
        ["", "posts", post, "comments"] => {
            let post: u64 = post.parse().expect("a post");
            page([10 * post + u64::from(second)], next)
        }
        _ => Reply::status(404, "?"),
    }
}

fn source(server: &Server, path: &str) -> RestBuilder {
    let rest = Rest::get(server.url(path)).paginate(Cursor::at("$.next").query("cursor"));
    rest.records("$.data[*]").limits(patient())
}

fn comments(server: &Server, parent: Parent) -> RestBuilder {
    source(server, "/posts/{post}/comments").parent(parent)
}

async fn all(rest: &Rest, positions: BTreeMap<PartitionId, PositionValue>) -> Result<Vec<Listed>> {
    let clock = Arc::new(FastClock::default());
    let env = Env::deterministic(clock as _, Arc::new(Dice::default()));
    list(rest, &env, positions).await
}

fn ids_of(listed: &[Listed]) -> Vec<String> {
    let id = |listed: &Listed| match listed {
        Listed::Partition(partition) => partition.id.0.clone(),
        Listed::Fence { partition, .. } => format!("fence of {partition}"),
    };
    listed.iter().map(id).collect()
}

#[tokio::test]
async fn children_are_listed_page_by_page_with_what_their_parent_gives() {
    let server = Server::start(blog).await;
    let parent = Parent::of(source(&server, "/posts")).bind("post", "$.id").include("title", "_posts_title");
    let rest = comments(&server, parent).build().expect("a source");
    let listed = all(&rest, BTreeMap::new()).await.expect("listed");
    let fence = "fence of .parent/all";
    assert_eq!(ids_of(&listed), ["post=1", "post=2", fence, "post=3", fence]);
    let Listed::Partition(second) = &listed[1] else { panic!("a partition") };
    let brought = read_partition(&rest, second, None).await;
    assert_eq!(brought.records(), ids([20, 21]));
    assert!(
        brought.pages().iter().all(|page| page.fields.as_ref().is_some_and(|f| f.get() == r#"{"_posts_title":"b"}"#))
    );
}

#[tokio::test]
async fn three_children_of_two_pages_each_make_six_child_pages_one_by_one_and_at_once() {
    for at_once in [false, true] {
        let server = Server::start(blog).await;
        let rest =
            comments(&server, Parent::of(source(&server, "/posts")).bind("post", "$.id")).build().expect("a source");
        let children = listed(&rest).await;
        let reads = children.iter().map(|child| read_partition(&rest, child, None));
        let reads = if at_once {
            futures::future::join_all(reads).await
        } else {
            let mut done = Vec::new();
            for read in reads {
                done.push(read.await);
            }
            done
        };
        let pages: usize = reads.iter().map(|brought| brought.pages().len()).sum();
        let records: BTreeSet<String> = reads.iter().flat_map(Brought::records).collect();
        assert_eq!((pages, records), (6, ids([10, 11, 20, 21, 30, 31]).into_iter().collect()));
        assert_eq!(server.seen().iter().filter(|got| got.path().ends_with("comments")).count(), 6);
    }
}

#[tokio::test]
async fn a_parent_record_without_the_field_is_an_error_that_names_it_or_is_passed_over() {
    let script = |_: &Got| {
        Reply::json(r#"{"data":[{"id":1},{"name":"x"},{"id":null},{"id":{}},{"id":""},{"id":"a/b"}],"next":null}"#)
    };
    let server = Server::start(script).await;
    let parent = || Parent::of(source(&server, "/posts")).bind("post", "$.id");
    let rest = comments(&server, parent()).build().expect("a source");
    let error = all(&rest, BTreeMap::new()).await.expect_err("no value").to_string();
    for said in ["$.id", "post", "record=`1`", "skip_without_value"] {
        assert!(error.contains(said), "{said} in {error}");
    }
    let rest = comments(&server, parent().skip_without_value()).build().expect("a source");
    let listed = all(&rest, BTreeMap::new()).await.expect("listed");
    assert_eq!(ids_of(&listed), ["post=1", "post=a%2Fb", "fence of .parent/all"]);
    let Listed::Partition(odd) = &listed[1] else { panic!("a partition") };
    read_partition(&rest, odd, None).await;
    assert_eq!(server.seen().last().expect("asked").path(), "/posts/a%2Fb/comments");
}

#[test]
fn what_is_bound_and_what_the_request_takes_must_fit_at_build_time() {
    let posts = || Rest::get("http://h/posts");
    let comments = |parent| Rest::get("http://h/posts/{post}/comments").parent(parent).build().map(drop);
    comments(Parent::of(posts()).bind("post", "$.id")).expect("fine");
    for (parent, says) in [
        (Parent::of(posts()), "nothing of the parent is bound"),
        (Parent::of(posts()).bind("post", "id").bind("author", "$.author"), "no place of the request takes"),
        (Parent::of(posts()).bind("author", "$.author"), "no value for a place"),
        (Parent::of(posts()).bind("post", "$.id").bind("post", "$.no"), "two values"),
        (Parent::of(posts()).bind("post", "$.id").include("a", "x").include("b", "x"), "of another one"),
        (Parent::of(posts().query("x", "{y}")).bind("post", "$.id"), "no value for a place"),
    ] {
        let error = comments(parent).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    let two =
        Rest::get("http://h/{post}").parent(Parent::of(posts()).bind("post", "id")).partition("a", [("post", "1")]);
    assert!(two.build().is_err());
    let two = Rest::get("http://h/{post}").parent(Parent::of(posts()).bind("post", "id")).partition_by("post", ["1"]);
    assert!(two.build().is_err());
}

#[tokio::test]
async fn grandchildren_inherit_what_their_parents_were_given() {
    let server = Server::start(|got| match got.path() {
        "/orgs" => Reply::json(r#"{"data":[{"id":"x","plan":"gold"}],"next":null}"#),
        "/orgs/x/repos" => Reply::json(r#"{"data":[{"name":"r 1"},{"name":"r2"}],"next":null}"#),
        _ => page([1], "null"),
    })
    .await;
    let orgs = source(&server, "/orgs");
    let repos =
        source(&server, "/orgs/{org}/repos").parent(Parent::of(orgs).bind("org", "$.id").include("plan", "_plan"));
    let repos = Parent::of(repos).bind("repo", "$.name").include("_plan", "_plan");
    let issues = source(&server, "/orgs/{org}/repos/{repo}/issues").parent(repos).build().expect("a source");
    let listed = all(&issues, BTreeMap::new()).await.expect("listed");
    let partitions: Vec<_> = listed.iter().filter(|l| matches!(l, Listed::Partition(_))).cloned().collect();
    assert_eq!(ids_of(&partitions), ["org=x/repo=r+1", "org=x/repo=r2"]);
    assert!(ids_of(&listed).contains(&"fence of .parent/.parent/all".to_owned()), "{:?}", ids_of(&listed));
    let Listed::Partition(first) = &partitions[0] else { panic!("a partition") };
    let brought = read_partition(&issues, first, None).await;
    assert_eq!(server.seen().last().expect("asked").path(), "/orgs/x/repos/r%201/issues");
    assert_eq!(brought.pages()[0].fields.as_ref().expect("given").get(), r#"{"_plan":"gold"}"#);
}

#[tokio::test]
async fn an_incremental_parent_goes_on_where_its_fence_has_left_it() {
    let server = Server::start(|got| match (got.path(), got.parameter("since")) {
        ("/posts", None) => Reply::json(r#"{"data":[{"id":1,"v":1},{"id":2,"v":2}],"next":null}"#),
        ("/posts", Some(_)) => Reply::json(r#"{"data":[{"id":2,"v":2},{"id":3,"v":3}],"next":null}"#),
        _ => page([1], "null"),
    })
    .await;
    let posts = source(&server, "/posts").since(Since::field("v").query("since"));
    let rest = comments(&server, Parent::of(posts).bind("post", "$.id")).build().expect("a source");
    let first = all(&rest, BTreeMap::new()).await.expect("listed");
    let Some(Listed::Fence { partition, to }) = first.last().cloned() else { panic!("a fence") };
    let second = all(&rest, BTreeMap::from([(partition, to)])).await.expect("listed");
    assert_eq!(ids_of(&second), ["post=2", "post=3", "fence of .parent/all"]);
    assert_eq!(server.seen().last().and_then(|got| got.parameter("since")).as_deref(), Some("2"));
}

#[tokio::test]
async fn a_parent_that_is_not_read_to_its_end_is_no_complete_list() {
    let server = Server::start(blog).await;
    let parent = Parent::of(source(&server, "/posts").max_pages(1)).bind("post", "$.id");
    let error = all(&comments(&server, parent).build().expect("a source"), BTreeMap::new()).await.expect_err("cut");
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    let broken = Server::start(|_| Reply::status(403, "no")).await;
    let rest = comments(&broken, Parent::of(source(&broken, "/posts")).bind("post", "$.id")).build().expect("a source");
    assert_eq!(all(&rest, BTreeMap::new()).await.expect_err("refused").kind(), ErrorKind::Auth);
}

#[tokio::test]
async fn a_parent_without_records_closes() {
    let server = Server::start(|_| page([], "null")).await;
    let rest = comments(&server, Parent::of(source(&server, "/posts")).bind("post", "$.id")).build().expect("a source");
    assert_eq!(ids_of(&all(&rest, BTreeMap::new()).await.expect("listed")), ["fence of .parent/all"]);
}

#[tokio::test]
async fn products_make_each_combination_once_and_hold_no_list_of_them() {
    let server = Server::start(|_| page([1], "null")).await;
    let rest = source(&server, "/{region}").query("kind", "{kind}");
    let rest =
        rest.partition_by("region", ["eu west", "us"]).partition_by("kind", ["a", "b"]).build().expect("a source");
    let listed = all(&rest, BTreeMap::new()).await.expect("listed");
    let expected = ["region=eu+west&kind=a", "region=eu+west&kind=b", "region=us&kind=a", "region=us&kind=b"];
    assert_eq!(ids_of(&listed), expected);
    let Listed::Partition(first) = &listed[0] else { panic!("a partition") };
    read_partition(&rest, first, None).await;
    assert_eq!(server.targets(), ["/eu%20west?kind=a"]);

    // A listing that takes one partition and goes has not waited for ten billion.
    let many = |place| (0..100_000).map(move |n| format!("{place}{n}"));
    let rest = source(&server, "/{a}/{b}")
        .partition_by("a", many("a"))
        .partition_by("b", many("b"))
        .build()
        .expect("a source");
    let (queue, mut listed) = mpsc::channel(1);
    let (_go_on, stop) = watch::channel(false);
    let mut out = Listing::new(queue, Arc::new(BTreeMap::new()), stop);
    let env = Env::system();
    let (end, first) = tokio::join!(async { rest.partitions(&env, &mut out).await }, async {
        let first = listed.recv().await;
        listed.close();
        first
    });
    assert!(end.is_err() && first.is_some());
}

#[tokio::test]
async fn children_and_lists_multiply() {
    let server = Server::start(blog).await;
    let parent = Parent::of(source(&server, "/posts")).bind("post", "$.id");
    let rest =
        comments(&server, parent).query("kind", "{kind}").partition_by("kind", ["x", "y"]).build().expect("a source");
    let listed = all(&rest, BTreeMap::new()).await.expect("listed");
    assert_eq!(ids_of(&listed)[..3], ["post=1&kind=x", "post=1&kind=y", "post=2&kind=x"]);
}

#[test]
fn lists_that_contradict_themselves_do_not_build() {
    let rest = || Rest::get("http://h/{a}");
    rest().partition_by("a", ["1", "2"]).build().expect("fine");
    assert!(rest().build().is_err());
    assert!(rest().partition_by("a", ["1", "1"]).build().is_err());
    assert!(rest().partition_by("a", Vec::<String>::new()).build().is_err());
    assert!(rest().partition_by("b", ["1"]).build().is_err());
    assert!(rest().partition_by("a", ["1"]).partition_by("a", ["2"]).build().is_err());
    assert!(rest().partition_by("a", ["1"]).partition("x", [("a", "2")]).build().is_err());
}

#[tokio::test]
async fn what_has_not_changed_is_not_read_again() {
    let server = Server::start(|got| {
        let same = got.headers.get("if-none-match").is_some_and(|tag| tag == "\"v1\"");
        let timed = got.headers.get("if-modified-since").is_some_and(|time| time == "Mon, 01 Jan 2024 00:00:00 GMT");
        if same && timed {
            return Reply::status(304, "");
        }
        Reply::json("[{\"id\":1}]").header("etag", "\"v1\"").header("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")
    })
    .await;
    let rest = |path: &str| Rest::get(server.url(path)).limits(patient()).conditional().build().expect("a source");
    let first = read(&rest("/r"), None).await;
    let second = read(&rest("/r"), Some(first.last_position())).await;
    assert_eq!(second.stopped(), &StopReason::Exhausted(Proof::NotModified));
    assert!(second.emitted.is_empty());
    // Another request has another response.
    let other = read(&rest("/other"), Some(first.last_position())).await;
    assert_eq!(other.pages().len(), 1);
    // Not asked for, it is no page.
    let server = Server::start(|_| Reply::status(304, "")).await;
    let plain = Rest::get(server.url("/r")).limits(patient()).build().expect("a source");
    assert_eq!(read(&plain, Some(first.last_position())).await.error().kind(), ErrorKind::Data);
    assert!(Rest::get("http://h/r").paginate(PageNumber::query("page")).conditional().build().is_err());
}
