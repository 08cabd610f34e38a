//! CSV and XML, from the server to batches.

use super::*;
use crate::columnar::{Columns, Decode};
use crate::model::{Part, Proof};
use crate::records::Csv;
use crate::retry::Policy;
use crate::stage::{Output, Stage};

fn csv(rows: usize) -> String {
    let rows: String = (0..rows).map(|n| format!("{n},\"a, {n}\",{n}.50\r\n")).collect();
    format!("id,name,total\r\n{rows}")
}

fn text(body: impl Into<Vec<u8>>) -> Reply {
    Reply::json(body).header("content-type", "text/plain")
}

fn rest(server: &Server, records: impl Into<String>) -> RestBuilder {
    Rest::get(server.url("/r"))
        .records(records)
        .limits(patient().with_part(10_000))
        .retry(Policy::default().with_attempts(2))
}

/// What a decoder makes of the pages: the rows as text, and codes of refusals with the exact bytes.
#[cfg(feature = "arrow")]
fn decoded(mut decode: Decode, brought: &Brought) -> (Vec<String>, Vec<(String, String)>) {
    use arrow::array::Array;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let mut out = Output::new();
    for page in brought.pages() {
        // As a replay has it.
        let mut landed = page.clone();
        landed.spans = None;
        decode.apply(landed, &mut out).expect("decodes");
    }
    let (batches, rejects, _) = out.into_parts();
    let options = FormatOptions::new().with_null("null");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .rows()
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref() as &dyn Array, &options).expect("text"))
            .collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
    (rows, rejects.iter().map(|r| (r.code.to_owned(), text(&r.raw))).collect())
}

#[tokio::test]
async fn rows_are_landed_as_they_came_and_decoded_by_the_declared_types() {
    let body = "\u{feff}id;name;total;paid;at\r\n00123;\"x;\"\"y\";10.50;TRUE;2024-05-17T00:00:00Z\r\n7;;;0;\r\n\r\n8;short\r\n9;\u{e9};1e3;no;\r\n";
    let server = Server::start(move |_| text(body).header("content-type", "text/csv; charset=utf-8")).await;
    let brought = read(&rest(&server, Csv::new().delimiter(b';')).build().expect("a source"), None).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::WholeResponse));
    let page = brought.pages()[0];
    assert_eq!((page.body.as_ref(), page.records), (body.as_bytes(), 4));
    let path = r#"csv{"delimiter":";","columns":["id","name","total","paid","at"],"header":true}"#;
    assert_eq!(page.records_path.as_deref(), Some(path));
    let declared = Columns::new().utf8("id").utf8("name").decimal("total", 10, 2).bool("paid").timestamp("at");
    let (rows, rejects) = decoded(Decode::pages().schema(declared), &brought);
    assert_eq!(rows, ["00123|x;\"y|10.50|true|2024-05-17T00:00:00Z", "7|null|null|false|null"]);
    assert_eq!(rejects, [("columns".into(), "8;short".into()), ("type".into(), "9;\u{e9};1e3;no;".into())]);
}

#[tokio::test]
async fn types_of_texts_are_inferred_and_names_of_digits_stay_texts() {
    let body = "id,zip,n,big,f,ok,t,d,token,none\n1,00123,-5,18446744073709551615,1.5,true,2024-05-17T00:00:00Z,2024-05-17,3e8,\n2,99,,1,2.25,false,,,4,\n3,00001,007,1,x,true,,,5,z\n";
    let server = Server::start(move |_| text(body)).await;
    let brought = read(&rest(&server, "csv").build().expect("a source"), None).await;
    let mut decode = Decode::pages().infer_from(2);
    let mut out = Output::new();
    decode.apply(brought.pages()[0].clone(), &mut out).expect("decodes");
    let kinds: Vec<String> =
        decode.columns().expect("decided").iter().map(|c| format!("{} {}", c.name(), c.kind())).collect();
    assert_eq!(
        kinds,
        [
            "id int64",
            "zip utf8(text)",
            "n int64",
            "big uint64",
            "f float64",
            "ok bool",
            "t timestamp",
            "d date",
            "token utf8(text)",
            "none utf8"
        ]
    );
    let (_, rejects, _) = out.into_parts();
    // It is not known to be a number that is written so.
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["type"]);
    assert!(rejects[0].reason.starts_with("n:"), "{}", rejects[0].reason);
}

#[tokio::test]
async fn a_large_csv_comes_in_parts_and_each_part_is_decoded_by_itself() {
    let server = Server::start(|_| text(csv(2_000)).chunked(true)).await;
    let brought = read(&rest(&server, "csv").build().expect("a source"), None).await;
    assert!(brought.stopped().is_complete());
    let all: Vec<u8> = brought.pages().iter().flat_map(|p| p.body.to_vec()).collect();
    assert!(all == csv(2_000).as_bytes() && brought.pages().len() > 3);
    assert!(brought.pages()[1].body.starts_with(b"\r\n") || brought.pages()[1].body[0].is_ascii_digit());
    let mut reversed = Brought { emitted: Vec::new(), end: Ok(brought.stopped().clone()), slept: Vec::new() };
    reversed.emitted.extend(brought.emitted.into_iter().rev());
    let declared = Columns::new().int64("id").utf8("name").decimal("total", 10, 2);
    let (rows, rejects) = decoded(Decode::pages().schema(declared), &reversed);
    assert_eq!((rows.len(), rejects.len()), (2_000, 0));
    assert!(rows.contains(&"1999|a, 1999|1999.50".to_owned()));
}

#[tokio::test]
async fn a_second_page_without_a_line_of_names_loses_no_row() {
    let serve = |second: &'static str| {
        Server::start(move |got| match got.parameter("p") {
            None => text("id,name\n1,a\n").header("link", "<?p=2>; rel=next"),
            Some(_) => text(second).header("link", "<?p=1>; rel=prev"),
        })
    };
    let source = |server: &Server| rest(server, "csv").paginate(LinkHeader::new()).build().expect("a source");
    // In another order, or with a column more, they are the names.
    let server = serve("more,name,id\nx,b,2\n").await;
    let brought = read(&source(&server), None).await;
    assert_eq!((brought.records(), brought.stopped().is_complete()), (vec!["1,a".into(), "x,b,2".into()], true));
    let server = serve("2,b\n3,c\n").await;
    let brought = read(&source(&server), None).await;
    assert_eq!((brought.error().kind(), brought.records()), (ErrorKind::Data, vec!["1,a".to_owned()]));
    assert!(brought.error().to_string().contains(".columns("), "{}", brought.error());
}

#[tokio::test]
async fn the_columns_of_the_first_page_are_known_after_a_stop() {
    // Only the first page has a line of names.
    let serve = |got: &Got| {
        let page: u64 = got.parameter("page").and_then(|n| n.parse().ok()).expect("a page");
        let names = if page == 1 { "id,name\n" } else { "" };
        text(format!("{names}{page},a\n")).header("x-pages", "4")
    };
    let source =
        |server: &Server| rest(server, "csv").paginate(PageNumber::query("page").total_pages(Place::header("x-pages")));
    let server = Server::start(serve).await;
    let first = read(&source(&server).max_pages(1).build().expect("a source"), None).await;
    let resumed = read(&source(&server).build().expect("a source"), Some(first.last_position())).await;
    assert!(resumed.error().to_string().contains(".columns("), "{}", resumed.error());
    // Where each has one, a read goes on.
    let server = Server::start(move |got| match got.parameter("page").as_deref() {
        Some("1") => serve(got),
        page => text(format!("name,id\nb,{}\n", page.unwrap_or_default())).header("x-pages", "4"),
    })
    .await;
    let first = read(&source(&server).max_pages(1).build().expect("a source"), None).await;
    let resumed = read(&source(&server).build().expect("a source"), Some(first.last_position())).await;
    assert_eq!((resumed.records(), server.seen().len()), (vec!["b,2".into(), "b,3".into(), "b,4".into()], 4));
    assert!(resumed.stopped().is_complete());
}

#[tokio::test]
async fn the_first_line_is_told_without_secrets_and_not_without_end() {
    let long = format!("2,s3cret-token,{}\n", "x".repeat(10_000));
    for second in [long.clone(), format!("s3cret-token,s3cret-token,{long}")] {
        let server = Server::start(move |got| match got.parameter("p") {
            None => text("id,name\n1,a\n").header("link", "<?p=2>; rel=next"),
            Some(_) => text(second.clone()),
        })
        .await;
        let rest = rest(&server, "csv").paginate(LinkHeader::new()).auth(Bearer::new("s3cret-token"));
        let error = read(&rest.build().expect("a source"), None).await.error().to_string();
        assert!(error.contains("first_line=") && !error.contains("s3cret") && error.len() < 1_500, "{error}");
    }
}

#[tokio::test]
async fn an_error_in_json_is_no_csv_without_rows() {
    for body in ["{\"error\":\"no\"}\n", "\u{feff} [\"no\"]"] {
        let server = Server::start(move |_| text(body).header("content-type", "text/csv")).await;
        let brought = read(&rest(&server, "csv").build().expect("a source"), None).await;
        assert!(brought.error().to_string().contains("JSON, not CSV"), "{}", brought.error());
    }
    // Where the columns are given, the first line is a row.
    let server = Server::start(|_| text("{1-2-3},a\n").header("content-type", "text/csv")).await;
    let columns = Csv::new().columns(["id", "name"]);
    let brought = read(&rest(&server, columns).build().expect("a source"), None).await;
    assert_eq!(brought.records(), ["{1-2-3},a"]);
}

#[tokio::test]
async fn a_cut_csv_is_never_whole() {
    let body = csv(500);
    for reply in [
        text(body.clone()).until_close(),
        text(body.clone()).chunked(false),
        // Between two rows.
        text(body.clone()).cut_at(body[..9_000].rfind('\n').expect("rows") + 1),
        // The transport is whole, but a quote is open.
        text(format!("{body}1,\"cut")),
        text(""),
        text("<!DOCTYPE html><html></html>"),
    ] {
        let server = Server::start(move |_| reply.clone()).await;
        let brought = read(&rest(&server, "csv").build().expect("a source"), None).await;
        assert!(brought.end.is_err());
        assert!(brought.emitted.iter().all(|e| e.position.is_none()));
        let parts: Vec<Option<Part>> = brought.pages().iter().map(|p| p.part).collect();
        assert!(parts.iter().all(|p| p.is_some_and(|p| !p.last)));
    }
}

#[tokio::test]
async fn the_highest_value_of_a_cell_is_the_bound_of_the_next_read() {
    let server = Server::start(|_| text(csv(120))).await;
    let rest = rest(&server, "csv").since(Since::field("id").query("from")).build().expect("a source");
    let brought = read(&rest, None).await;
    read(&rest, Some(brought.last_position())).await;
    assert_eq!(server.targets(), ["/r", "/r?from=119"]);
}

#[test]
fn values_beside_the_records_must_be_of_their_format() {
    for (records, next) in [("csv", "$.next"), ("ndjson", "$.next"), ("$.data[*]", "/a/b"), ("/feed/entry", "$.next")] {
        let rest = Rest::get("http://api.test/r").records(records).paginate(NextUrl::at(next));
        assert_eq!(rest.build().expect_err(records).kind(), ErrorKind::Config);
    }
}

fn feed(entries: std::ops::Range<u32>, next: Option<&str>) -> Reply {
    let entries: String = entries
        .map(|n| {
            format!(
                "<entry id='{n}'><title>T &amp; {n}</title><tag>a</tag>{}</entry>",
                "<tag>b</tag>".repeat((n % 2) as usize)
            )
        })
        .collect();
    let next = next.map(|next| format!("<link rel='next' href='{next}'/>")).unwrap_or_default();
    text(format!("<?xml version='1.0'?>\n<feed><link rel='self' href='/r'/>{next}{entries}</feed>"))
        .header("content-type", "application/atom+xml")
}

#[tokio::test]
async fn elements_are_records_and_a_link_leads_to_the_next_page() {
    let server = Server::start(|got| match got.target.as_str() {
        "/r" => feed(0..2, Some("/r?p=2&amp;x=1")),
        "/r?p=2&x=1" => feed(2..3, None),
        _ => Reply::status(404, "no"),
    })
    .await;
    let rest = rest(&server, "/feed/entry").paginate(NextUrl::at("/feed/link[@rel='next']/@href")).build();
    let brought = read(&rest.expect("a source"), None).await;
    assert_eq!(brought.stopped(), &StopReason::Exhausted(Proof::NoNextPage));
    assert_eq!(brought.records()[0], "<entry id='0'><title>T &amp; 0</title><tag>a</tag></entry>");
    let declared = Columns::parse([("@id", "int64"), ("title", "utf8"), ("tag", "list<utf8>")]).expect("columns");
    let expected = ["0|T & 0|[a]", "1|T & 1|[a, b]", "2|T & 2|[a]"];
    assert_eq!(decoded(Decode::pages().schema(declared), &brought), (expected.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(decoded(Decode::pages().infer(), &brought).0, expected);
}

#[tokio::test]
async fn a_document_that_is_cut_or_of_another_kind_is_an_error() {
    let whole = feed(0..5, None);
    let cut = text(&whole.body[..whole.body.len() - 3]);
    for reply in [cut, text("<error>quota</error>"), text("<!DOCTYPE feed [<!ENTITY x 'y'>]><feed/>"), text("{}")] {
        let server = Server::start(move |_| reply.clone()).await;
        let brought = read(&rest(&server, "/feed/entry").build().expect("a source"), None).await;
        assert_eq!(brought.error().kind(), ErrorKind::Data);
        assert!(brought.emitted.is_empty());
    }
}
