use super::*;
use crate::model::{Part, Proof};
use crate::retry::Policy;

fn text(records: usize) -> String {
    (0..records).map(|n| format!("{{\"id\":{n},\"pad\":\"{}\"}}\n", "x".repeat(50))).collect()
}

fn lines(server: &Server) -> RestBuilder {
    Rest::get(server.url("/r"))
        .records("ndjson")
        .limits(patient().with_part(10_000))
        .retry(Policy::default().with_attempts(2))
}

fn parts(brought: &Brought) -> Vec<Option<Part>> {
    brought.pages().iter().map(|p| p.part).collect()
}

#[tokio::test]
async fn a_small_response_of_lines_is_one_page() {
    let server =
        Server::start(|_| Reply::json("{\"id\":1}\n\n{\"id\":2}").header("content-type", "application/x-ndjson")).await;
    let brought = read(&lines(&server).build().expect("a source"), None).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::WholeResponse));
    assert_eq!((brought.records(), parts(&brought)), (ids(1..=2), vec![None]));
}

#[tokio::test]
async fn a_large_response_comes_in_numbered_parts_cut_between_lines() {
    for reply in [Reply::json(text(20_000)), Reply::json(text(20_000)).chunked(true)] {
        let server = Server::start(move |_| reply.clone()).await;
        let brought = read(&lines(&server).build().expect("a source"), None).await;
        assert!(brought.stopped().is_complete());
        assert_eq!(brought.records().len(), 20_000);
        let all: Vec<u8> = brought.pages().iter().flat_map(|p| p.body.to_vec()).collect();
        assert!(all == text(20_000).as_bytes());
        let parts: Vec<Part> = parts(&brought).into_iter().map(|p| p.expect("a part")).collect();
        assert!(parts.len() > 2);
        for (n, part) in parts.iter().enumerate() {
            assert_eq!((part.index as usize, part.last), (n, n + 1 == parts.len()));
            assert_eq!(part.response, parts[0].response);
        }
        let moved: Vec<bool> = brought.emitted.iter().map(|e| e.position.is_some()).collect();
        assert_eq!(moved.iter().filter(|m| **m).count(), 1, "only the last part moves the position");
        assert_eq!(moved.last(), Some(&true));
    }
}

#[tokio::test]
async fn a_broken_stream_is_read_again_as_another_response() {
    let server = Server::start(|got| match got.number {
        // Cut between two lines: every line is whole.
        0 => Reply::json(text(2_000)).cut_at(text(1_500).len()),
        _ => Reply::json(text(2_000)),
    })
    .await;
    let brought = read(&lines(&server).build().expect("a source"), None).await;
    assert!(brought.stopped().is_complete());
    let parts: Vec<Part> = parts(&brought).into_iter().map(|p| p.expect("a part")).collect();
    let last = parts.last().expect("parts").response;
    assert!(last != parts[0].response, "the broken response has another name");
    let broken: Vec<_> = parts.iter().filter(|p| p.response != last).collect();
    assert!(broken.iter().all(|p| !p.last), "no part of it says that it is whole");
    let records: u64 =
        brought.pages().iter().filter(|p| p.part.is_some_and(|p| p.response == last)).map(|p| p.records).sum();
    assert_eq!(records, 2_000);
}

#[tokio::test]
async fn a_stream_that_never_comes_whole_is_an_error() {
    for reply in [Reply::json(text(2_000)).cut_at(text(1_000).len()), Reply::json(text(50)).chunked(false)] {
        let server = Server::start(move |_| reply.clone()).await;
        let brought = read(&lines(&server).build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Unavailable);
        assert!(brought.emitted.iter().all(|e| e.position.is_none()));
        assert!(parts(&brought).iter().all(|p| p.is_some_and(|p| !p.last)));
    }
}

#[tokio::test]
async fn lines_without_any_proof_of_their_end_are_an_error() {
    let until_close = || Reply::json(text(10)).until_close();
    for reply in [until_close(), until_close().header("transfer-encoding", "identity")] {
        let server = Server::start(move |_| reply.clone()).await;
        let brought = read(&lines(&server).build().expect("a source"), None).await;
        assert!(brought.end.is_err());
        assert!(brought.emitted.is_empty());
    }
}

#[tokio::test]
async fn no_lines_are_no_records_only_where_the_response_says_lines() {
    for (kind, ends) in [("application/x-ndjson", true), ("application/json", false)] {
        let server = Server::start(move |_| Reply::json("").header("content-type", kind)).await;
        let brought = read(&lines(&server).build().expect("a source"), None).await;
        assert_eq!(brought.end.is_ok(), ends, "{kind}");
    }
}

#[tokio::test]
async fn a_page_for_people_and_a_line_without_end_are_errors() {
    let html = Server::start(|_| Reply::json("<html>\n".repeat(5_000))).await;
    let long = Server::start(|_| Reply::json("x".repeat(100_000))).await;
    for (server, says) in [(html, "HTML"), (long, "line")] {
        let rest = lines(&server).limits(patient().with_part(10_000).with_body(1 << 20, 50_000));
        let brought = read(&rest.build().expect("a source"), None).await;
        assert!(brought.error().to_string().contains(says), "{}", brought.error());
        assert!(brought.emitted.is_empty());
    }
}

#[tokio::test]
async fn lines_are_paged_by_links() {
    let server = Server::start(|got| match got.target.as_str() {
        "/r" => Reply::json(text(400)).header("link", "</r?page=2>; rel=next"),
        _ => Reply::json("{\"id\":1}"),
    })
    .await;
    let brought = read(&lines(&server).paginate(LinkHeader::new()).build().expect("a source"), None).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
    assert_eq!(brought.records().len(), 401);
}

#[tokio::test]
async fn the_highest_value_of_all_parts_counts() {
    let server = Server::start(|_| Reply::json(text(2_000))).await;
    let rest = lines(&server).since(Since::field("id").query("from"));
    let rest = rest.build().expect("a source");
    let brought = read(&rest, None).await;
    read(&rest, Some(brought.last_position())).await;
    assert_eq!(server.targets(), ["/r", "/r?from=1999"]);
}

#[tokio::test]
async fn a_last_line_that_breaks_off_is_read_again_and_a_bad_one_is_a_record() {
    // The length fits what came, so nothing but the line shows that there was more.
    for broken in ["{\"id\":1}\n{\"id\":2,\"name\":\"Gr", "{\"id\":1}\n{\"id\":2,", "{\"id\":1}\n{\"id\""] {
        let server = Server::start(move |got| match got.number {
            0 => Reply::json(broken),
            _ => Reply::json("{\"id\":1}\n{\"id\":2}"),
        })
        .await;
        let brought = read(&lines(&server).build().expect("a source"), None).await;
        assert_eq!((brought.records(), server.seen().len()), (ids(1..=2), 2), "{broken}");
    }
    let server = Server::start(|_| Reply::json("{\"id\":1}\n{\"id\":x}")).await;
    let brought = read(&lines(&server).build().expect("a source"), None).await;
    assert_eq!((brought.records().len(), server.seen().len()), (2, 1));
    let server = Server::start(|_| Reply::json("{\"id\":1}\n{\"id\":")).await;
    let brought = read(&lines(&server).build().expect("a source"), None).await;
    assert_eq!((brought.error().kind(), server.seen().len()), (ErrorKind::Data, 2));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_no_lines() {
    let server = Server::start(|_| Reply::json(vec![0xff, 0xfe, 3, b'\n', 7])).await;
    let brought = read(&lines(&server).build().expect("a source"), None).await;
    assert_eq!(brought.error().kind(), ErrorKind::Data);
    assert!(brought.error().to_string().contains("UTF-8"), "{}", brought.error());
}
