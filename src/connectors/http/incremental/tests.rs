use super::super::request::Request;
use super::decimal::Decimal;
use super::*;
use crate::error::{Error, Result};
use crate::json::ValuePath;
use crate::json::{Query, scan};
use crate::model::Timestamp;
use reqwest::Url;
use reqwest::header::HeaderMap;
use std::time::Duration;

fn high(body: &str, before: Option<CursorValue>) -> Result<Highest> {
    let spans = scan(body.as_bytes(), &Query::parse("$[*]")?, &[])?.spans;
    highest(body.as_bytes(), &spans, &ValuePath::field("t")?, before.as_ref(), &Known::default())
}

fn sent(since: &Since, value: Option<CursorValue>) -> Result<String> {
    let mut request = Request::get(Url::parse("http://h/r").expect("a URL"), HeaderMap::new());
    let now = Timestamp::parse("2024-05-01T12:00:00Z").expect("a time");
    let bounds = Bounds { since: value, window: None, until: since.frozen(now) };
    let Sent { lower, upper } = since.sent(&bounds)?;
    for (name, value) in since.in_query(&lower, &upper) {
        request.set_query(name, value);
    }
    Ok(request.described())
}

#[test]
fn compares_numbers_without_losing_digits() {
    let order =
        ["-1e3", "-999.5", "-1", "0", "0.01", "1e-1", "1", "9007199254740992", "9007199254740993", "1e17", "1e400"];
    for pair in order.windows(2) {
        let [a, b] = pair else { panic!("a pair") };
        assert!(Decimal::parse(a) < Decimal::parse(b), "{a} {b}");
    }
    assert_eq!(Decimal::parse("-0").cmp(&Decimal::parse("0.00")), std::cmp::Ordering::Equal);
    assert_eq!(Decimal::parse("100").cmp(&Decimal::parse("1.0e2")), std::cmp::Ordering::Equal);
    assert!(Decimal::parse("1x").is_none() && Decimal::parse("").is_none());
}

#[test]
fn finds_the_highest_value_by_its_type() {
    let of = |body| high(body, None).expect("comparable").value.expect("a value");
    assert_eq!(of(r#"[{"t":9},{"t":10},{"t":2}]"#), CursorValue::Number("10".to_owned()));
    assert_eq!(of(r#"[{"t":"9"},{"t":"10"}]"#), CursorValue::Text("9".to_owned()));
    let times = r#"[{"t":"2024-01-01T01:00:00+02:00"},{"t":"2024-01-01T00:00:00Z"},{"t":"2023-12-31T23:59:59.5Z"}]"#;
    assert_eq!(of(times), CursorValue::Time("2024-01-01T00:00:00Z".to_owned()));
    let kept = high(r#"[{"t":1}]"#, Some(CursorValue::Number("7".to_owned()))).expect("comparable");
    assert_eq!(kept.value, Some(CursorValue::Number("7".to_owned())));
    assert!(!kept.order.descends && !kept.order.ascends);
    let both = high(r#"[{"t":1},{"t":3},{"t":2}]"#, None).expect("comparable");
    assert!(both.order.descends && both.order.ascends);
    let down = high(r#"[{"t":3},{"t":2},{"t":2}]"#, None).expect("comparable").order;
    assert!(down.descends && !down.ascends);
    let after = |body| down.clone().followed_by(high(body, None).expect("comparable").order);
    assert!(!after(r#"[{"t":2},{"t":1}]"#).ascends && after(r#"[{"t":3}]"#).ascends);
}

#[test]
fn counts_records_without_a_value() {
    let found = high(r#"[{"t":null},{"x":1},{"t":3},7,{"t":{}},{"t":""}]"#, None).expect("comparable");
    assert_eq!(found.without, 5);
}

#[test]
fn a_bad_record_neither_stops_the_read_nor_moves_the_bound() {
    let time = |text: &str| CursorValue::Time(text.to_owned());
    let mixed = r#"[{"t":"yesterday"},{"t":"2024-01-01T00:00:00Z"},{"t":7},{"t":"2024-01-02T00:00:00Z"},{"t":"zzz"}]"#;
    let noon = time("2024-01-01T12:00:00Z");
    for before in [None, Some(noon.clone()), Some(CursorValue::Text("yesterday".to_owned()))] {
        let found = high(mixed, before.clone()).expect("goes on");
        assert_eq!((found.value, found.without), (Some(time("2024-01-02T00:00:00Z")), 3), "{before:?}");
    }
    let bad_page = high(r#"[{"t":"yesterday"},{"t":9}]"#, Some(noon.clone())).expect("goes on");
    assert_eq!((bad_page.value, bad_page.without), (Some(noon), 2));
    let tie = high(r#"[{"t":"soon"},{"t":"2024-01-01T00:00:00Z"}]"#, None).expect("goes on");
    assert_eq!(tie.value, Some(time("2024-01-01T00:00:00Z")));
}

#[test]
fn a_value_later_than_the_read_does_not_move_the_bound() {
    let now = Timestamp::parse("2024-05-01T12:00:00Z").ok();
    let of = |body: &str, since: Since| {
        let spans = scan(body.as_bytes(), &Query::parse("$[*]")?, &[])?.spans;
        let found =
            highest(body.as_bytes(), &spans, &ValuePath::field("t")?, None, &since.known(&Bounds::default(), now)?)?;
        Ok::<_, Error>((found.value.map(|v| v.text().to_owned()), found.future, found.without))
    };
    let since = Since::field("t");
    let times = r#"[{"t":"2999-01-01T00:00:00Z"},{"t":"2024-05-01T12:00:00Z"},{"t":"2024-05-01T12:00:00.1Z"}]"#;
    assert_eq!(of(times, since.clone()).expect("read"), (Some("2024-05-01T12:00:00Z".to_owned()), 2, 0));
    let numbers = r#"[{"t":32503680000},{"t":1714564800},{"t":1714564801}]"#;
    assert_eq!(of(numbers, since.clone().unit(Unit::Seconds)).expect("read"), (Some("1714564800".to_owned()), 2, 0));
    assert_eq!(of(numbers, since).expect("read"), (Some("32503680000".to_owned()), 0, 0));
}

#[test]
fn times_overlap_by_default() {
    let since = Since::field("t").query("since");
    let time = || Some(CursorValue::Time("2024-01-01T00:05:00+00:00".to_owned()));
    let number = || Some(CursorValue::Number("1000".to_owned()));
    assert_eq!(sent(&since, time()).expect("sent"), "GET /r?since=2024-01-01T00%3A00%3A00Z");
    assert_eq!(sent(&since, number()).expect("sent"), "GET /r?since=1000");
    assert_eq!(sent(&since.clone().unit(Unit::Seconds), number()).expect("sent"), "GET /r?since=700");
    let off = since.overlap(Duration::ZERO);
    assert_eq!(sent(&off, time()).expect("sent"), "GET /r?since=2024-01-01T00%3A05%3A00%2B00%3A00");
    assert_eq!(sent(&off.unit(Unit::Seconds), number()).expect("sent"), "GET /r?since=1000");
}

#[test]
fn sends_the_bound_as_the_api_wrote_it_and_less_the_overlap_otherwise() {
    let since = Since::field("t").query("since");
    let number = |text: &str| Some(CursorValue::Number(text.to_owned()));
    let time = |text: &str| Some(CursorValue::Time(text.to_owned()));
    assert_eq!(sent(&since, None).expect("sent"), "GET /r");
    assert_eq!(sent(&since.clone().initial("2020"), None).expect("sent"), "GET /r?since=2020");
    assert_eq!(sent(&since, number("1.50")).expect("sent"), "GET /r?since=1.50");
    assert_eq!(sent(&since.clone().overlap_number(2), number("1.50")).expect("sent"), "GET /r?since=-0.50");
    assert_eq!(
        sent(&since.clone().overlap_number(1), number("9007199254740993")).expect("sent"),
        "GET /r?since=9007199254740992"
    );
    let minute = since.overlap(Duration::from_secs(60));
    let wide = sent(&minute, time("2024-01-01T00:00:30.5+00:00")).expect("sent");
    assert_eq!(wide, "GET /r?since=2023-12-31T23%3A59%3A30.5Z");
    let epoch = minute.clone().unit(Unit::Milliseconds).until_query("until").lag(Duration::from_secs(1));
    assert_eq!(sent(&epoch, number("1700000000000")).expect("sent"), "GET /r?since=1699999940000&until=1714564799000");
    assert!(sent(&minute, number("5")).is_err());
    assert!(sent(&minute, Some(CursorValue::Text("2024".to_owned()))).is_err());
}

#[test]
fn dates_and_times_without_an_offset_keep_their_form() {
    let since = Since::field("t").query("since");
    let time = |text: &str| Some(CursorValue::of(text));
    assert_eq!(sent(&since, time("2024-01-01")).expect("sent"), "GET /r?since=2023-12-31");
    assert_eq!(sent(&since, time("2024-01-01 00:01:00")).expect("sent"), "GET /r?since=2023-12-31+23%3A56%3A00");
    assert_eq!(sent(&since, time("2024-01-01T00:07:00.5")).expect("sent"), "GET /r?since=2024-01-01T00%3A02%3A00.5");
    for no_time in ["20240101", "2024", "2024-1", "2024-13-01", "v2024-01-01"] {
        assert!(!matches!(CursorValue::of(no_time), CursorValue::Time(_)), "{no_time}");
    }
    let mixed = high(r#"[{"t":"2024-01-01"},{"t":"2023-12-31T23:30:00-01:00"},{"t":"2024-01-01 00:29:59"}]"#, None);
    assert_eq!(
        mixed.expect("comparable").value.map(|v| v.text().to_owned()).as_deref(),
        Some("2023-12-31T23:30:00-01:00")
    );
}

#[test]
fn bounds_are_written_in_the_declared_format() {
    let since = Since::field("t").query("since").overlap(Duration::ZERO);
    let at = || Some(CursorValue::of("2024-05-01T12:34:56.789Z"));
    let written = |format| sent(&since.clone().format(format), at()).expect("sent");
    assert_eq!(written(CursorFormat::Rfc3339), "GET /r?since=2024-05-01T12%3A34%3A56.789Z");
    assert_eq!(written(CursorFormat::Date), "GET /r?since=2024-05-01");
    assert_eq!(written(CursorFormat::Epoch(Unit::Seconds)), "GET /r?since=1714566896");
    assert_eq!(written(CursorFormat::Epoch(Unit::Milliseconds)), "GET /r?since=1714566896789");
    assert_eq!(
        written(CursorFormat::Pattern("%Y/%m/%d %H:%M:%S".to_owned())),
        "GET /r?since=2024%2F05%2F01+12%3A34%3A56"
    );
    let epoch = since.clone().unit(Unit::Milliseconds).format(CursorFormat::Rfc3339);
    assert_eq!(
        sent(&epoch, Some(CursorValue::of("1714566896789"))).expect("sent"),
        "GET /r?since=2024-05-01T12%3A34%3A56.789Z"
    );
    assert!(sent(&since.clone().format(CursorFormat::Date), Some(CursorValue::of("abc"))).is_err());
    assert!(since.clone().format(CursorFormat::Pattern("%Y-%m-%dT%H:%M".to_owned())).check().is_err());
    since.format(CursorFormat::Pattern("%H:%M".to_owned())).granularity(Duration::from_secs(60)).check().expect("fine");
}

#[test]
fn bounds_are_rounded_down_to_the_granularity() {
    let second = Since::field("t").query("since").overlap(Duration::ZERO).granularity(Duration::from_secs(1));
    let time = || Some(CursorValue::of("2024-05-01T12:34:56.789Z"));
    assert_eq!(sent(&second, time()).expect("sent"), "GET /r?since=2024-05-01T12%3A34%3A56Z");
    assert_eq!(
        sent(&second.clone().lower(Edge::Exclusive), time()).expect("sent"),
        "GET /r?since=2024-05-01T12%3A34%3A55Z"
    );
    let epoch = second.unit(Unit::Milliseconds);
    assert_eq!(sent(&epoch, Some(CursorValue::of("1714566896789"))).expect("sent"), "GET /r?since=1714566896000");
}

#[test]
fn what_is_sent_nowhere_needs_an_order_or_the_whole() {
    assert!(Since::field("t").check().is_err());
    Since::field("t").row_order(RowOrder::Descending).check().expect("fine");
    Since::field("t").client_side().check().expect("fine");
    assert!(Since::field("t").query("since").client_side().check().is_err());
}
