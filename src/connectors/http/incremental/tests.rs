use super::decimal::Decimal;
use super::*;
use crate::json::{Query, scan};
use reqwest::Url;
use reqwest::header::HeaderMap;

fn high(body: &str, before: Option<CursorValue>) -> Result<Highest> {
    let spans = scan(body.as_bytes(), &Query::parse("$[*]")?, &[])?.spans;
    highest(body.as_bytes(), &spans, &ValuePath::field("t")?, before.as_ref(), &Known::default())
}

fn sent(since: &Since, value: Option<CursorValue>) -> Result<String> {
    let mut request = Request::get(Url::parse("http://h/r").expect("a URL"), HeaderMap::new());
    let now = Timestamp::parse("2024-05-01T12:00:00Z").expect("a time");
    since.request(value.as_ref(), since.upper(now), &mut request)?;
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
    assert!(kept.descends);
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
        let found = highest(body.as_bytes(), &spans, &ValuePath::field("t")?, None, &since.known(None, now))?;
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
