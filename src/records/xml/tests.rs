use crate::error::{ErrorKind, Result};
use crate::json::ValuePath;
use crate::records::RecordsPath;

const FEED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- <entry/> -->
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:m="urn:m" total="3">
  <link rel="self" href="/a?x=1&amp;y=2"/><link rel="next" href="/a?page=2&#38;n=&#x31;"/>
  <entry m:id="7" empty=""><title>Tom &amp; <![CDATA[<Jerry> & co]]></title><n> 5 </n>
    <tag>a</tag><tag>b</tag><nested><entry>not one</entry></nested><none/><blank>
    </blank>text</entry>
  <updated> 2024-05-17 </updated>
  <entry/>
  <entry><tag k="v">c</tag><a>é</a></entry>
  <cursor><![CDATA[]]></cursor>
</feed>
"#;

/// The records as JSON, or as code, and the values.
fn read(body: &str, path: &str, values: &[&str]) -> Result<(Vec<String>, Vec<Option<String>>)> {
    let path = RecordsPath::parse(path)?;
    let values: Vec<_> = values.iter().map(|v| ValuePath::parse(v)).collect::<Result<_>>()?;
    let scan = path.scan(body.as_bytes(), &values)?;
    assert_eq!(path.spans(body.as_bytes(), None)?, scan.spans);
    let mut texts = path.text_records().expect("XML");
    let json = scan.spans.iter().map(|span| {
        let mut out = Vec::new();
        let raw = span.of(body.as_bytes()).expect("inside");
        assert!(raw.starts_with(b"<") && raw.ends_with(b">"));
        match texts.write_json(raw, &mut out) {
            Ok(()) => String::from_utf8(out).expect("UTF-8"),
            Err(why) => why.code.to_owned(),
        }
    });
    Ok((json.collect(), scan.values))
}

#[test]
fn elements_are_records_with_attributes_text_and_repeated_children() {
    for body in [FEED.to_owned(), format!("\u{feff}{FEED}")] {
        let (records, _) = read(&body, "/feed/entry", &[]).expect("whole");
        assert_eq!(
            records,
            [
                r##"{"@m:id":"7","@empty":null,"title":"Tom & <Jerry> & co","n":" 5 ","tag":["a","b"],"nested":{"entry":"not one"},"none":null,"blank":null,"#text":"\n    text"}"##,
                "{}",
                r##"{"tag":{"@k":"v","#text":"c"},"a":"é"}"##,
            ]
        );
    }
}

#[test]
fn values_are_found_by_path_and_condition() {
    let paths = [
        "/feed/link[@rel='next']/@href",
        "/feed/updated",
        "/feed/@total",
        "/feed/cursor",
        "/feed/gone",
        "/feed/entry/n",
    ];
    let (_, values) = read(FEED, "/feed/entry", &paths).expect("whole");
    let values: Vec<_> = values.iter().map(|v| v.as_deref().unwrap_or("-")).collect();
    assert_eq!(values, ["\"/a?page=2&n=1\"", "\"2024-05-17\"", "\"3\"", "-", "-", "\"5\""]);
}

#[test]
fn no_records_in_their_place_are_an_empty_page_but_another_document_is_an_error() {
    for body in ["<r><items/></r>", "<r><items>\n</items></r>", "<r><items><other/></items></r>"] {
        assert!(read(body, "/r/items/item", &[]).expect("whole").0.is_empty(), "{body}");
    }
    for body in ["<error>quota</error>", "<r/>", "<r><other/></r>", "<r><x><items><item/></items></x></r>"] {
        assert_eq!(read(body, "/r/items/item", &[]).expect_err(body).kind(), ErrorKind::Data);
    }
    assert_eq!(read("<r a='1'>x</r>", "/r", &[]).expect("whole").0, [r##"{"@a":"1","#text":"x"}"##]);
}

#[test]
fn a_cut_document_is_never_whole() {
    let body = FEED.trim_end();
    for end in (0..body.len()).filter(|end| body.is_char_boundary(*end)) {
        let error = read(&body[..end], "/feed/entry", &[]).expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.is_transient() || end < 100, "{end}: {error}");
    }
}

#[test]
fn bombs_and_what_is_not_well_formed_are_refused() {
    let bomb = r#"<!DOCTYPE r [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><r><i>&b;</i></r>"#;
    let external = r#"<!DOCTYPE r SYSTEM "file:///etc/passwd"><r><i/></r>"#;
    let deep = format!("<r><i>{}{}</i></r>", "<d>".repeat(200), "</d>".repeat(200));
    for body in [
        bomb,
        external,
        &deep,
        "<r><i></r></i>",
        "<r><i/></r><r/>",
        "<r><i/></r>x",
        "x<r/>",
        "<r><i/></r></r>",
        "",
        " \n",
        "{\"r\":1}",
    ] {
        assert_eq!(read(body, "/r/i", &[]).expect_err(body).kind(), ErrorKind::Data, "{body}");
    }
    // Inside of a record it is the record that is refused.
    let (records, _) = read("<r><i>1</i><i a='1' a='2'/><i>&b;</i><i><d>2</d></i></r>", "/r/i", &[]).expect("whole");
    assert_eq!(records, [r##"{"#text":"1"}"##, "xml", "xml", r#"{"d":"2"}"#]);
}

/// The number of names is bounded, also of those that are no fields: the reader looks for each attribute among those before it.
#[test]
fn too_many_names_in_one_element_are_refused() {
    let path = RecordsPath::parse("/r/i").expect("a path");
    let written = |record: String| path.text_records().expect("XML").write_json(record.as_bytes(), &mut Vec::new());
    let many = |one: fn(usize) -> String, times: usize| (0..times).map(one).collect::<String>();
    let children = written(format!("<i>{}</i>", many(|n| format!("<n{n}/>"), 5_000))).expect_err("too many children");
    assert!(children.reason.contains("too many attributes or children"), "{}", children.reason);
    let ways: [fn(usize) -> String; 2] = [|n| format!(" xmlns:n{n}=''"), |n| format!(" n{n}=''")];
    for attributes in ways {
        assert_eq!(written(format!("<i{}/>", many(attributes, 5_000))), Err(children.clone()));
        assert_eq!(written(format!("<i{}/>", many(attributes, 4_096))), Ok(()));
    }
}
