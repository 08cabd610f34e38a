use super::*;
use crate::error::{ErrorKind, Result};
use proptest::prelude::*;

fn records<'a>(body: &'a str, path: &str) -> Result<Vec<&'a str>> {
    let found = scan(body.as_bytes(), &Query::parse(path)?, &[])?;
    Ok(found
        .spans
        .iter()
        .map(|s| std::str::from_utf8(s.of(body.as_bytes()).expect("inside")).expect("UTF-8"))
        .collect())
}

fn refusal(body: &str, path: &str) -> String {
    let error = records(body, path).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Data);
    error.to_string()
}

#[test]
fn finds_the_records_of_an_array_with_their_exact_bytes() {
    let body = " { \"n\": 2, \"data\" : [ {\"a\": [1, {}]} ,\n 7 , \"x\\\"]\", null ] , \"z\": {} } ";
    assert_eq!(records(body, "$.data[*]").expect("whole"), ["{\"a\": [1, {}]}", "7", "\"x\\\"]\"", "null"]);
    assert_eq!(records("[[1],[2]]", "$[*]").expect("whole"), ["[1]", "[2]"]);
    assert_eq!(records(r#"{"a":[{"b":{"c":[1]}}]}"#, "$.a[0]['b'].c[*]").expect("whole"), ["1"]);
    assert_eq!(records(r#"{"d\u0061ta":[1]}"#, "$.data[*]").expect("whole"), ["1"]);
    assert_eq!(records("\u{feff}[1]", "$[*]").expect("whole"), ["1"]);
}

#[test]
fn takes_members_of_an_object_only_where_the_path_says_so() {
    let body = r#"{"a":{"id":1},"b":{"id":2}}"#;
    assert_eq!(records(body, "$.*").expect("whole"), [r#"{"id":1}"#, r#"{"id":2}"#]);
    assert!(refusal(r#"{"error":"no"}"#, "$[*]").contains("an object is in the place of the array"));
}

#[test]
fn takes_the_value_of_a_path_without_wildcard_as_one_record() {
    assert_eq!(records(r#"{"item":{"id":1}}"#, "$.item").expect("whole"), [r#"{"id":1}"#]);
    assert_eq!(records(r#"{"item":null}"#, "$.item").expect("whole"), [""; 0]);
    assert!(refusal(r#"{"item":[1]}"#, "$.item").contains("[*]"));
}

#[test]
fn finds_records_of_a_general_query_in_the_order_of_the_page() {
    let body = r#"{"data":[{"items":[{"id":1},{"id":2}]},{"items":[]},{"items":[{"id":3}]}],"t":1}"#;
    assert_eq!(records(body, "$.data[*].items[*]").expect("whole"), [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#]);
    assert_eq!(records(r#"{"d":[{"k":1},{"k":2}]}"#, "$.d[?@.k > 1]").expect("whole"), [r#"{"k":2}"#]);
    assert_eq!(records(r#"{"d":[{"k":1}]}"#, "$.d[?@.k > 1]").expect("whole"), [""; 0]);
    assert_eq!(records(r#"[5,6,7]"#, "$[-1,0,0]").expect("whole"), ["5", "7"]);
    assert!(refusal(r#"{"e":1}"#, "$.d[?@.k > 1]").contains("selects nothing"));
    assert!(refusal(r#"[[{"a":1}]]"#, "$..*").contains("inside of records"));
}

#[test]
fn a_query_that_needs_a_tree_is_asked_of_no_more_values_than_there_is_memory_for() {
    let body = format!("[{}]", vec!["{\"a\":0}"; 1 << 21].join(","));
    assert!(refusal(&body, "$..a").contains("too many to hold it as a tree"));
    assert_eq!(records(&body, "$[*]").expect("whole").len(), 1 << 21);
}

#[test]
fn tells_a_mistyped_name_behind_a_wildcard_from_an_empty_page() {
    for (body, path) in [
        (r#"{"data":[]}"#, "$.data[*].items[*]"),
        (r#"{"data":null}"#, "$.data[*].items[*]"),
        (r#"{"data":[{"items":[]},{"x":1}]}"#, "$.data[*].items[*]"),
        (r#"{"data":[{"items":null}]}"#, "$.data[*].items[*]"),
        (r#"{"data":[]}"#, "$.data[*].node"),
        (r#"{"n":0,"items":[]}"#, "$..items[*]"),
        (r#"{"data":[{"node":1}]}"#, "$.data[?@.nodes].nodes"),
    ] {
        assert_eq!(records(body, path).expect("no records"), [""; 0], "{body} {path}");
    }
    for (body, path) in [
        (r#"{"data":[{"itms":[1]}]}"#, "$.data[*].items[*]"),
        (r#"{"data":"gone"}"#, "$.data[*].items[*]"),
        (r#"{"data":[{"nodes":1}]}"#, "$.data[*].node"),
        (r#"{"itms":[1]}"#, "$..items[*]"),
    ] {
        assert!(refusal(body, path).contains("selects nothing"), "{body} {path}");
    }
}

#[test]
fn extracts_values_as_their_own_text() {
    let paths: Vec<_> = ["$.next", "$.meta.total", "$.meta.gone", "$.data[1].id", "$.none.x", "$.nil"]
        .map(|p| ValuePath::parse(p).expect("a path"))
        .into();
    let body = br#"{"next":3e8,"meta":{"total":9007199254740993},"data":[{"id":"a"},{"id":"b"}],"nil":null}"#;
    let found = scan(body, &Query::parse("$.data[*]").expect("a path"), &paths).expect("whole");
    let values: Vec<_> = found.values.iter().map(Option::as_deref).collect();
    assert_eq!(values, [Some("3e8"), Some("9007199254740993"), None, Some("\"b\""), None, Some("null")]);
    assert_eq!(found.spans.len(), 2);
}

#[test]
fn a_null_in_the_place_of_a_parent_counts_for_the_value() {
    let paths = [ValuePath::parse("$.meta.page.next").expect("a path")];
    let null = |body: &str| {
        let found = scan(body.as_bytes(), &Query::parse("$.d[*]")?, &paths)?;
        Ok::<_, crate::Error>(found.values == [Some("null".to_owned())])
    };
    assert!(null(r#"{"d":[],"meta":null}"#).expect("whole"));
    assert!(null(r#"{"d":[],"meta":{"page":null}}"#).expect("whole"));
    assert!(!null(r#"{"d":[],"meta":{}}"#).expect("whole"));
    assert!(!null(r#"{"d":[]}"#).expect("whole"));
}

#[test]
fn tells_the_names_near_a_value_that_is_not_there() {
    let near = |body: &str| names_near(body.as_bytes(), &ValuePath::parse("$.meta.page.next").expect("a path"));
    assert_eq!(near(r#"{"meta":{"page":{"nxt":1,"a":[]}}}"#), "a, nxt");
    assert_eq!(near(r#"{"meta":{"pages":1},"data":[]}"#), "pages");
    assert_eq!(near(r#"{"data":[]}"#), "data");
    assert_eq!(near("[]"), "");
}

#[test]
fn takes_null_for_no_records_and_a_missing_place_for_an_error() {
    assert_eq!(records(r#"{"data":null}"#, "$.data[*]").expect("whole"), [""; 0]);
    assert_eq!(records(r#"{"data":[]}"#, "$.data[*]").expect("whole"), [""; 0]);
    for path in ["$.result.items[*]", "$.result.page.items[*]", "$.result.items[*].rows[*]", "$.result.item"] {
        assert_eq!(records(r#"{"result":null}"#, path).expect("whole"), [""; 0], "{path}");
    }
    let text = refusal(r#"{"error":"no","code":{"x":1}}"#, "$.data[*]");
    assert!(text.contains("the path selects nothing") && text.contains("code, error"), "{text}");
    assert!(refusal(r#"{"data":"no"}"#, "$.data[*]").contains("a string"));
    assert!(refusal(r#"{"data":[1],"data":[2]}"#, "$.data[*]").contains("twice"));
}

#[test]
fn refuses_what_is_not_one_whole_json_text() {
    for body in ["<html></html>", "", "  ", "[1] x", "[1}", "[1,,2]", "{1:2}", r#"{"a" 1}"#, "[1 2]", r#"[{"a":[1}]}]"#]
    {
        assert!(!refusal(body, "$[*]").is_empty(), "{body}");
    }
    let invalid = scan(b"[\"\xff\"]", &Query::parse("$[*]").expect("a path"), &[]).expect_err("refused");
    assert!(invalid.to_string().contains("not UTF-8"));
}

#[test]
fn tells_a_page_that_ends_too_early_at_every_place() {
    let body = "{\"data\":[{\"a\":\"é\\\\\\\"]\",\"b\":[1,{}]},true],\"next\":\"c\"}";
    for end in 1..body.len() {
        let cut = &body.as_bytes()[..end];
        let error = scan(cut, &Query::parse("$.data[*]").expect("a path"), &[]).expect_err("cut");
        assert!(error.is_transient(), "{end}: {error}");
    }
}

#[test]
fn leaves_a_bad_record_to_the_decoder() {
    let body = r#"[{"a":NaN},{"b":"\x"},{"c" 1},{"d":1}]"#;
    assert_eq!(records(body, "$[*]").expect("whole").len(), 4);
}

#[test]
fn refuses_deep_nesting_without_using_the_stack() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert_eq!(records(&nested(MAX_DEPTH), "$[*]").expect("just fits").len(), 1);
    assert!(refusal(&nested(MAX_DEPTH + 1), "$[*]").contains("nested too deep"));
    assert!(refusal(&"[".repeat(1_000_000), "$[*]").contains("nested too deep"));
    assert!(refusal(&"{\"a\":".repeat(1_000_000), "$.x[*]").contains("nested too deep"));
}

#[test]
fn finds_the_field_of_a_record() {
    let get = |record: &'static str, path: &str| {
        field(record.as_bytes(), &ValuePath::field(path).expect("a path"))
            .map(|v| v.map(|v| String::from_utf8_lossy(v)))
    };
    let record = r#"{"a":{"t":1,"x":[2]},"t" : "2024" ,"n":null}"#;
    assert_eq!(get(record, "t").expect("sound").as_deref(), Some("\"2024\""));
    assert_eq!(get(record, "$.a.x[0]").expect("sound").as_deref(), Some("2"));
    assert_eq!(get(record, "n").expect("sound").as_deref(), Some("null"));
    assert_eq!(get(record, "gone").expect("sound"), None);
    assert_eq!(get("7", "t").expect("sound"), None);
    assert!(get("{\"t\"", "t").is_err());
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[a\"\\\\\\[\\]{},: é\n]{0,80}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[a\"\\\\{}]{0,9}", inner, 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_a_full_parser(items in prop::collection::vec(value(), 0..8), pretty in any::<bool>()) {
        let page = serde_json::json!({"a": {"deep": items}, "data": items, "z": items});
        let body = if pretty { serde_json::to_string_pretty(&page) } else { serde_json::to_string(&page) }.expect("JSON");
        for path in ["$.data[*]", "$.a.deep[*]", "$.data[0:]"] {
            let found = records(&body, path).expect("whole");
            let parsed: Vec<serde_json::Value> = found.iter().map(|r| serde_json::from_str(r).expect("JSON")).collect();
            prop_assert_eq!(&parsed, &items);
        }
    }

    #[test]
    fn never_panics_on_any_bytes(body in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ \n1aent\xc3\xa9".to_vec()), 0..200)) {
        for path in ["$.a[*]", "$[*]", "$..a", "$"] {
            let path = Query::parse(path).expect("a path");
            if let Ok(found) = scan(&body, &path, &[ValuePath::parse("$.a[0]").expect("a path")]) {
                prop_assert!(found.spans.iter().all(|s| s.of(&body).is_some()));
            }
        }
        let _outcome = field(&body, &ValuePath::parse("$.a[0]").expect("a path")).is_ok();
    }
}

#[test]
fn a_path_that_ends_within_an_escape_is_refused() {
    for path in [r#"$["\u"#, r"$['\uD", r"$['\ud800\u", r"$['a']['\uD834\ud", r"$.a\u"] {
        let refused = Query::parse(path).expect_err(path).to_string();
        assert!(refused.contains("not an RFC 9535 path"), "{refused}");
    }
}
