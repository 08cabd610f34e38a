use crate::error::ErrorKind;
use crate::json::Rest;
use crate::model::Part;
use crate::records::{Csv, RecordsPath, Splitter};
use bytes::Bytes;
use proptest::prelude::*;

fn path(csv: &Csv) -> RecordsPath {
    RecordsPath::parse(&csv.to_string()).expect("a path")
}

/// The records of a whole body, as JSON, or as code and reason.
fn records(csv: &Csv, body: &str) -> Vec<String> {
    let found = path(csv).found_in(body.as_bytes()).expect("columns").into_owned();
    let spans = found.spans(body.as_bytes(), None).expect("rows");
    let mut texts = found.text_records().expect("CSV");
    let mut json = |row: &[u8]| {
        let mut out = Vec::new();
        match texts.write_json(row, &mut out) {
            Ok(()) => String::from_utf8(out).expect("UTF-8"),
            Err(why) => format!("{}: {}", why.code, String::from_utf8_lossy(row)),
        }
    };
    spans.iter().map(|span| json(span.of(body.as_bytes()).expect("inside"))).collect()
}

#[test]
fn a_row_is_an_object_of_its_cells() {
    let body = "\u{feff}id,name,\"no\"\"te\"\r\n1,a,\"x,\ny\"\"\"\r\n\r\n2,,\"\"\n00123,é,3e8";
    assert_eq!(
        records(&Csv::new(), body),
        [
            r#"{"id":"1","name":"a","no\"te":"x,\ny\""}"#,
            r#"{"id":"2","name":null,"no\"te":null}"#,
            r#"{"id":"00123","name":"é","no\"te":"3e8"}"#,
        ]
    );
    assert_eq!(
        records(&Csv::new().nulls(["NA", "-"]), "a,b\nNA,\n-,x"),
        [r#"{"a":null,"b":""}"#, r#"{"a":null,"b":"x"}"#]
    );
    let semicolons = Csv::new().delimiter(b';').quote(b'\'').columns(["a", "b"]);
    assert_eq!(records(&semicolons, "'1;2';\"3\"\n"), [r#"{"a":"1;2","b":"\"3\""}"#]);
    assert_eq!(records(&Csv::new().delimiter(b'\t').without_quotes(), "a\tb\n\"1\t2"), [r#"{"a":"\"1","b":"2"}"#]);
    assert_eq!(records(&Csv::new().columns(["x"]).with_header(), "a\n1\n"), [r#"{"x":"1"}"#]);
    assert!(records(&Csv::new(), "a,b\n").is_empty());
}

#[test]
fn a_row_of_another_length_is_refused_by_itself_and_nothing_is_shifted() {
    let rows = records(&Csv::new(), "a,b\n1,2\n3\n4,5,6\n\"7,8\n\",9\n");
    assert_eq!(rows, [r#"{"a":"1","b":"2"}"#, "columns: 3", "columns: 4,5,6", r#"{"a":"7,8\n","b":"9"}"#]);
}

#[test]
fn what_is_not_text_is_refused_by_itself() {
    let csv = path(&Csv::new().columns(["a", "b"]));
    let body = b"1,2\n\xff,3\n4,5";
    let spans = csv.spans(body, None).expect("rows");
    let mut texts = csv.text_records().expect("CSV");
    let codes: Vec<_> = spans
        .iter()
        .map(|span| texts.write_json(span.of(body).expect("inside"), &mut Vec::new()).map_err(|why| why.code))
        .collect();
    assert_eq!(codes, [Ok(()), Err("utf8"), Ok(())]);
}

#[test]
fn a_quote_that_does_not_end_is_a_cut_body() {
    for body in ["a\n\"x", "a\n\"x\n", "a\n1\n\"x\"\"", "\"a"] {
        let error = path(&Csv::new().columns(["a"])).spans(body.as_bytes(), None).expect_err(body);
        assert!(error.is_transient(), "{body}");
    }
    assert_eq!(records(&Csv::new(), "a\n\"x\""), [r#"{"a":"x"}"#]);
}

#[test]
fn the_names_of_the_columns_must_tell_them_apart() {
    for (csv, body, kind) in [
        (Csv::new(), "", ErrorKind::Data),
        (Csv::new(), "\n\n", ErrorKind::Data),
        (Csv::new(), "a,b,a\n1,2,3", ErrorKind::Data),
        (Csv::new(), "a,,\n1,2,3", ErrorKind::Data),
    ] {
        assert_eq!(path(&csv).found_in(body.as_bytes()).expect_err(body).kind(), kind);
    }
    for text in [
        "csv{\"columns\":[\"a\",\"a\"]}",
        "csv{\"columns\":[]}",
        "csv{\"delimiter\":\"\\n\"}",
        "csv{\"delimiter\":\"é\"}",
        "csv{\"delimiter\":\"ab\"}",
        "csv{\"delimiter\":\"\\\"\"}",
        "csv{\"header\":false}",
        "csv{\"separator\":\";\"}",
        "csv;",
    ] {
        assert_eq!(RecordsPath::parse(text).expect_err(text).kind(), ErrorKind::Config);
    }
}

/// Cuts `body`, which comes in pieces of `size` bytes.
fn cut(csv: &Csv, body: &[u8], wanted: usize, size: usize) -> Vec<Bytes> {
    let mut splitter = Splitter::new(&path(csv), &[], wanted, 0);
    let mut parts = Vec::new();
    for piece in body.chunks(size) {
        splitter.push(Bytes::copy_from_slice(piece));
        while let Some(part) = splitter.take_part().expect("cuts") {
            parts.push(part);
        }
    }
    splitter.end();
    let Rest { body, .. } = splitter.finish();
    parts.push(body);
    parts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn parts_have_the_rows_of_the_whole_whatever_the_pieces(
        body in prop::collection::vec(prop::sample::select(b"ab\",\n\r;\xc3\xa9".to_vec()), 1..80),
        wanted in 1usize..40,
        size in 1usize..20,
    ) {
        let csv = Csv::new();
        let parts = cut(&csv, &body, wanted, body.len());
        prop_assert_eq!(&cut(&csv, &body, wanted, size), &parts);
        prop_assert_eq!(parts.concat(), body.clone());
        let declared = path(&csv);
        let Ok(found) = declared.found_in(&body) else { return Ok(()) };
        let texts = |body: &[u8], part| {
            let spans = found.spans(body, part)?;
            Ok::<_, crate::Error>(spans.iter().map(|s| s.of(body).expect("inside").to_vec()).collect::<Vec<_>>())
        };
        let Ok(whole) = texts(&body, None) else { return Ok(()) };
        let mut rows = Vec::new();
        for (index, text) in (0..).zip(&parts) {
            let last = index as usize + 1 == parts.len();
            rows.extend(texts(text, Some(Part { response: 1, index, last })).expect("rows"));
        }
        prop_assert_eq!(rows, whole);
    }
}

#[test]
fn a_last_row_that_breaks_off_is_no_row() {
    let csv = path(&Csv::new().columns(["a", "b"]));
    for cut in ["1,2\n3", "1,2\n3,\"x", "1,2\r\n3"] {
        let error = csv.spans(cut.as_bytes(), None).expect_err(cut);
        assert!(error.is_transient(), "{error}");
    }
    // A short row that has ended is one bad record, wherever it stands.
    for whole in ["1,2\n3\n", "1,2\n3,4", "1,2\n3,4,5"] {
        assert_eq!(csv.spans(whole.as_bytes(), None).expect(whole).len(), 2);
    }
}
