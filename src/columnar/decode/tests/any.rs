//! Any JSON, and what is nearly JSON.

use super::*;
use proptest::prelude::*;

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e6..1e6f64).prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
        "[\\x00-\\x7f\"\\\\é😀]{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map("[a-d\"é]{0,2}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Valid JSON with, now and then, a byte changed.
fn perhaps_json() -> impl Strategy<Value = Vec<u8>> {
    (json_value(), any::<bool>(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |(value, pretty, at, byte, damage)| {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            let mut text = text.expect("values are written");
            if damage {
                let at = at.index(text.len());
                text[at] = byte;
            }
            text
        },
    )
}

proptest! {
    #[test]
    fn takes_as_json_what_another_parser_takes(text in perhaps_json()) {
        let other = serde_json::from_slice::<Box<RawValue>>(&text).is_ok();
        // The other parser does not look at escapes and UTF-8 where it only skips.
        let strict = serde_json::from_slice::<serde_json::Value>(&text);
        let exact = match &strict {
            // It refuses numbers beyond its own; JSON has them.
            Err(e) if e.to_string().contains("number out of range") => other,
            result => result.is_ok(),
        };
        let span = Span { start: 0, len: text.len() as u32 };
        let ours = core::whole(&text, span, |cursor| cursor.value()).is_ok();
        prop_assert_eq!(ours, exact, "{:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn strings_are_read_as_another_parser_reads_them(value in "[\\x00-\\x7f\"\\\\é😀\\u{2028}]{0,40}") {
        let text = serde_json::to_string(&value).expect("strings are written");
        let batch = one("utf8", &text).expect("a string");
        prop_assert_eq!(batch.column(0).as_string::<i32>().value(0), value.as_str());
    }

    #[test]
    fn rows_and_refusals_are_the_records_in_order(
        records in prop::collection::vec(
            (0u8..6, "[a-z\"]{0,9}", any::<i64>(), prop::collection::vec(any::<u8>(), 0..3)), 0..60),
        skip in 0usize..70,
    ) {
        let texts: Vec<String> = records.iter().map(|(shape, text, number, list)| {
            let text = serde_json::to_string(text).expect("written");
            match shape {
                0 => format!("{{\"n\":{number},\"s\":{text},\"l\":{list:?},\"o\":{{\"x\":{text}}}}}"),
                1 => format!("{{\"s\":{text},\"o\":null,\"n\":{number}}}"),
                2 => format!("{{\"l\":{list:?},\"o\":{{\"y\":1,\"x\":{text}}},\"n\":\"{number}\"}}"),
                3 => format!("{{\"l\":[1,{text}],\"n\":{number}}}"),
                4 => format!("{{\"n\":{number},\"q\":[{text}],\"o\":{{}}}}"),
                _ => text,
            }
        }).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut page = page(&texts);
        page.skip = skip.min(texts.len()) as u64;
        let schema = || columns(&[("n", "int64"), ("s", "utf8"), ("l", "list<uint8>"), ("o", "struct<x: utf8>")]);
        let mut decode = Decode::pages().schema(schema());
        let mut fork = decode.fork().expect("declared");
        // The copy has another past.
        apply(&mut fork, super::page(&[r#"{"o":{"x":1,"x":2},"n":1}"#, r#"{"n":2,"l":[1,2]}"#]));
        let (batches, rejects) = apply(&mut decode, page.clone());
        let (copied, _) = apply(&mut fork, page.clone());
        prop_assert_eq!(batches.first().map(Batch::rows), copied.first().map(Batch::rows));

        let good = |text: &&str| match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) => value["n"].is_i64() && value["l"].as_array().is_none_or(|l| l.iter().all(|v| v.is_u64())),
            Err(_) => false,
        };
        let left: Vec<&str> = texts.iter().copied().skip(skip).collect();
        let (expected, refused): (Vec<&str>, Vec<&str>) = left.iter().partition(|t| good(t));
        let raw: Vec<String> = batches
            .iter()
            .flat_map(|b| (0..b.num_rows()).map(|row| String::from_utf8_lossy(&b.raw(row)).into_owned()))
            .collect();
        prop_assert_eq!(raw, expected.clone());
        let raw: Vec<String> = rejects.iter().map(|r| String::from_utf8_lossy(&r.raw).into_owned()).collect();
        prop_assert_eq!(raw, refused);
        for (row, text) in expected.iter().enumerate() {
            let value: serde_json::Value = serde_json::from_str(text).expect("good");
            let batch = batches[0].rows();
            prop_assert_eq!(Some(batch.column(0).as_primitive::<Int64Type>().value(row)), value["n"].as_i64());
            let strings = batch.column(1).as_string::<i32>();
            prop_assert_eq!(strings.is_valid(row).then(|| strings.value(row)), value["s"].as_str());
            let lists = batch.column(2).as_list::<i32>();
            prop_assert_eq!(lists.is_valid(row).then(|| lists.value_length(row) as usize), value["l"].as_array().map(Vec::len));
            let inner = batches[0].column("o.x").expect("nested");
            let inner = inner.as_string::<i32>();
            prop_assert_eq!(inner.is_valid(row).then(|| inner.value(row)), value["o"]["x"].as_str());
        }
    }
}
