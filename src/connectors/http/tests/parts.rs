//! JSON that is emitted in parts while it streams.

use super::*;
use crate::json::{Query, scan};
use crate::model::{Part, Proof};
use crate::records::RecordsPath;
use crate::retry::Policy;

/// A page of `records` records of some 60 bytes, with values before and behind them.
fn large(records: usize, next: &str) -> String {
    let records: Vec<_> = (0..records).map(|n| format!("{{\"id\":{n},\"pad\":\"]}},{}\"}}", "x".repeat(40))).collect();
    format!("{{\"n\":{},\"data\":[{}],\"next\":{next}}}", records.len(), records.join(" ,\n"))
}

fn limits() -> Limits {
    patient().with_part(10_000)
}

fn rest(server: &Server) -> RestBuilder {
    by_cursor(server).limits(limits()).retry(Policy::default().with_attempts(2))
}

fn parts(brought: &Brought) -> Vec<Option<Part>> {
    brought.pages().iter().map(|p| p.part).collect()
}

fn together(pages: &[&Page]) -> String {
    let bytes = pages.iter().flat_map(|p| p.body.to_vec()).collect();
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn a_large_page_comes_in_parts_that_are_the_page_together() {
    for reply in [Reply::json(large(5_000, "null")), Reply::json(large(5_000, "null")).chunked(true)] {
        let reply = reply.clone();
        let server = Server::start(move |_| reply.clone()).await;
        let brought = read(&rest(&server).total("$.n").build().expect("a source"), None).await;
        assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::TotalMatched(5_000)));
        assert!(together(&brought.pages()) == large(5_000, "null"));
        let parts: Vec<Part> = parts(&brought).into_iter().map(|p| p.expect("a part")).collect();
        assert!(parts.len() > 20);
        for (n, part) in parts.iter().enumerate() {
            assert_eq!((part.index as usize, part.last), (n, n + 1 == parts.len()));
            assert_eq!(part.response, parts[0].response);
        }
        assert!(brought.pages().iter().all(|p| p.body.len() < 11_000));
        assert_eq!(
            brought.emitted.iter().filter(|e| e.position.is_some()).count(),
            1,
            "only the last moves the position"
        );

        // A replay finds the same records, part by part.
        let whole = large(5_000, "null");
        let spans = scan(whole.as_bytes(), &Query::parse("$.data[*]").expect("a path"), &[]).expect("a page").spans;
        let texts: Vec<&str> = spans
            .iter()
            .map(|s| std::str::from_utf8(s.of(whole.as_bytes()).expect("inside")).expect("UTF-8"))
            .collect();
        assert!(brought.records() == texts);
        for page in brought.pages() {
            let path = RecordsPath::parse(page.records_path.as_deref().expect("says it")).expect("a path");
            assert_eq!(
                path.spans(&page.body, page.part).expect("records"),
                page.spans.as_ref().expect("known").to_vec()
            );
        }
    }
}

#[tokio::test]
async fn the_next_page_is_found_before_and_behind_the_records() {
    let before = format!("{{\"next\":\"a\",{}", &large(1_000, "0").replace("next", "other")[1..]);
    for first in [before, large(1_000, "\"a\"")] {
        let server = Server::start(move |got| match got.parameter("cursor") {
            None => Reply::json(first.clone()),
            _ => page([1, 2], "null"),
        })
        .await;
        let brought = read(&rest(&server).build().expect("a source"), None).await;
        assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
        assert_eq!(brought.records().len(), 1_002);
        assert_eq!(parts(&brought).last(), Some(&None), "a small page is whole");
    }
}

#[tokio::test]
async fn a_cut_page_is_read_again_as_another_response() {
    for cut in [30_000, large(2_000, "null").len() - 2] {
        let server = Server::start(move |got| match got.number {
            0 => Reply::json(large(2_000, "null")).cut_at(cut),
            _ => Reply::json(large(2_000, "null")),
        })
        .await;
        let brought = read(&rest(&server).build().expect("a source"), None).await;
        assert!(brought.stopped().is_complete());
        let parts: Vec<Part> = parts(&brought).into_iter().map(|p| p.expect("a part")).collect();
        let last = parts.last().expect("parts").response;
        assert!(parts.iter().filter(|p| p.response != last).all(|p| !p.last));
        let pages: Vec<&Page> =
            brought.pages().into_iter().filter(|p| p.part.is_some_and(|p| p.response == last)).collect();
        assert!(together(&pages) == large(2_000, "null"));
    }
}

#[tokio::test]
async fn a_page_that_never_comes_whole_is_an_error() {
    let page = large(2_000, "null");
    let ends = [page.len() - 1, page.len() - 14, page.len() - 40, 60_000];
    // No transport says that it is cut: the JSON does.
    for body in ends.map(|end| page[..end].to_owned()).into_iter().chain([
        format!("{page}]"),
        page.replace("],\"next\"", "]],\"next\""),
        page.replace("\"next\":null", "\"data\":[]"),
        page.replace("\"id\":1900,", "\"id\":[1900},"),
    ]) {
        let server = Server::start(move |_| Reply::json(body.clone()).until_close()).await;
        let brought = read(&rest(&server).build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Data, "{}", brought.error());
        assert!(brought.emitted.iter().all(|e| e.position.is_none()));
        assert!(parts(&brought).iter().all(|p| p.is_some_and(|p| !p.last)));
    }
}

#[tokio::test]
async fn what_needs_the_whole_page_holds_it_up_to_the_limit() {
    let server = Server::start(|_| Reply::json(large(1_000, "null"))).await;
    let whole = |rest: RestBuilder| async { read(&rest.build().expect("a source"), None).await };
    let filtered = whole(rest(&server).records("$.data[?@.id < 5]")).await;
    assert_eq!((filtered.records().len(), parts(&filtered)), (5, vec![None]));
    let too_large = whole(rest(&server).records("$.data[0:]").limits(limits().with_body(1 << 20, 30_000))).await;
    assert_eq!(too_large.error().kind(), ErrorKind::Data);
    // Cut between records, the same page needs no more than a record.
    let cut = whole(rest(&server).limits(limits().with_body(1 << 20, 30_000))).await;
    assert_eq!(cut.records().len(), 1_000);
}

#[tokio::test]
async fn a_condition_on_the_body_is_asked_of_large_pages_too() {
    let server = Server::start(|got| {
        let last = got.parameter("cursor").is_some();
        let next = if last { "\"b\",\"status\":\"done\"" } else { "\"a\",\"status\":\"more\"" };
        Reply::json(large(1_000, next).replace("\"id\":", if last { "\"n\":" } else { "\"id\":" }))
    })
    .await;
    let by = Cursor::at("$.next").query("cursor").stop_when("@.status == 'done'");
    let brought = read(&rest(&server).paginate(by).build().expect("a source"), None).await;
    assert!(brought.stopped().is_complete());
    assert_eq!((brought.records().len(), parts(&brought)), (2_000, vec![None, None]));
}

#[tokio::test]
async fn one_huge_record_or_what_is_around_the_records_must_fit_the_limit() {
    let huge = format!("{{\"data\":[{{\"id\":1}},{{\"v\":\"{}\"}},{{\"id\":2}}],\"next\":null}}", "x".repeat(60_000));
    let before = format!("{{\"v\":\"{}\",{}", "x".repeat(60_000), &large(1_000, "null")[1..]);
    let behind = format!("{},\"v\":\"{}\"}}", large(1_000, "null").trim_end_matches('}'), "x".repeat(60_000));
    for body in [huge, before, behind] {
        for (limit, fits) in [(80_000, true), (30_000, false)] {
            let body = body.clone();
            let server = Server::start(move |_| Reply::json(body.clone())).await;
            let rest = rest(&server).limits(limits().with_body(1 << 20, limit)).build().expect("a source");
            let brought = read(&rest, None).await;
            assert_eq!(brought.end.is_ok(), fits, "{limit}: {:?}", brought.end);
        }
    }
}

#[tokio::test]
async fn the_highest_cursor_value_of_all_parts_counts() {
    let server = Server::start(|_| Reply::json(large(2_000, "null"))).await;
    let rest = rest(&server).since(Since::field("id").query("from")).build().expect("a source");
    let brought = read(&rest, None).await;
    read(&rest, Some(brought.last_position())).await;
    assert_eq!(server.targets(), ["/r", "/r?from=1999"]);
}

/// Peak of the memory of this process, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Takes minutes: `cargo test --all-features --lib -- --ignored --exact connectors::http::tests::parts::a_gibibyte_…`, alone.
#[tokio::test]
#[ignore = "takes minutes, and measures the memory of the whole process"]
async fn a_gibibyte_needs_no_more_memory_than_a_few_parts() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const RECORD: usize = 1 << 10;
    let record = format!(",{{\"id\":1,\"pad\":\"{}\"}}", "x".repeat(RECORD - 19));
    let block = record.repeat(64);
    let blocks = (1 << 30) / block.len();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serve = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut head = [0; 4096];
        let _read = socket.read(&mut head).await.expect("a request");
        let begin = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"data\":[{}";
        socket.write_all(begin.as_bytes()).await.expect("sends");
        for _ in 0..blocks {
            socket.write_all(block.as_bytes()).await.expect("sends");
        }
        socket.write_all(b"],\"next\":null}").await.expect("sends");
    });
    let rest = Rest::get(format!("http://{address}/r")).records("$.data[*]").paginate(Cursor::at("$.next").query("c"));
    let rest = rest.limits(patient()).build().expect("a source");
    let partition = Partition::new("all");
    let env = Env::deterministic(Arc::new(FastClock::default()), Arc::new(Dice::default()));
    let (queue, mut emissions) = mpsc::channel(4);
    let (_stop, stopped) = watch::channel(false);
    let mut out = Emitter::new(partition.clone(), Arc::new(Semaphore::new(32 << 20)), 32 << 20, queue, stopped);
    let before = peak();
    let read = async {
        let end = rest.read(&env, &partition, None, &mut out).await;
        drop(out);
        end
    };
    let take = async {
        let (mut bytes, mut records, mut parts) = (0, 0, 0);
        while let Some(emission) = emissions.recv().await {
            let page = emission.item.expect("a page");
            (bytes, records, parts) = (bytes + page.body.len(), records + page.records, parts + 1);
        }
        (bytes, records, parts)
    };
    let (end, (bytes, records, parts)) = futures::join!(read, take);
    serve.await.expect("served");
    assert!(end.expect("whole").is_complete());
    assert_eq!((records, bytes), (64 * blocks as u64 + 1, 64 * blocks * record.len() + 25));
    let grown = peak() - before;
    assert!(grown < 96 << 20, "{grown} bytes for {bytes} in {parts} parts");
    assert!(parts > 200);
}
