//! Rows and the pages that they come from.

use super::*;

#[test]
fn rows_know_where_they_come_from() {
    let mut page = page(&[r#"{"id":0}"#, r#"{"id":1}"#, r#"{"id":"?"}"#, r#"{"id":3}"#]);
    page.origin = Some(Origin { start: LandingPosition { segment: 5, record: 100 }, page: 2 });
    page.skip = 1;
    let mut decode = Decode::pages().schema(columns(&[("id", "int64")])).provenance();
    let (batches, rejects) = apply(&mut decode, page);
    let [batch] = batches.as_slice() else { panic!("one batch") };
    let at = |record| Some(LandingPosition { segment: 5, record });
    assert_eq!((batch.origin(0), batch.origin(1), batch.origin(2)), (at(101), at(103), None));
    assert_eq!((batch.raw(0).as_ref(), batch.raw(1).as_ref()), (&br#"{"id":1}"#[..], &br#"{"id":3}"#[..]));
    let uint = |column: usize| batch.rows().column(column).as_primitive::<UInt64Type>().values().to_vec();
    assert_eq!((uint(1), uint(2)), (vec![5, 5], vec![101, 103]));
    assert_eq!(batch.rows().column(3).as_primitive::<TimestampMicrosecondType>().values(), &[7, 7]);
    let [reject] = rejects.as_slice() else { panic!("one refusal") };
    assert_eq!((reject.origin, reject.received_at), (at(102), Some(Timestamp::from_micros(7))));
    assert_eq!(reject.span.map(|s| s.len), Some(10));
    let picked = batch.take(&[1, 0, 1]).expect("rows");
    assert_eq!((picked.origin(0), picked.origin(1), picked.raw(2)), (at(103), at(101), batch.raw(1)));
    let refused = picked.reject(0, "mine", "why");
    assert_eq!((refused.origin, refused.raw, refused.code), (at(103), batch.raw(1), "mine"));
}

#[test]
fn a_page_with_another_number_of_records_is_an_error() {
    let mut decode = Decode::pages().schema(columns(&[("id", "int64")]));
    let mut wrong = page(&[r#"{"id":0}"#]);
    wrong.records = 2;
    let error = decode.apply(wrong, &mut Output::new()).expect_err("one record is missing");
    assert_eq!(error.kind(), ErrorKind::Data);
    let (batches, rejects) = apply(&mut decode, page(&[]));
    assert_eq!((batches.len(), rejects.len()), (0, 0));
}

#[test]
fn pages_from_the_log_and_from_memory_are_decoded_alike() {
    let body = r#"{"data":[{"id":1},{"id":"x"},{"id":2}],"other":[1,2,3]}"#;
    let spans = RecordsPath::parse("$.data[*]").expect("a path").spans(body.as_bytes(), None).expect("a page");
    let mut seen = Page::new(PartitionId::from("p"), body, 3, Timestamp::from_micros(7));
    seen.spans = Some(spans.into());
    seen.records_path = Some("$.data[*]".into());
    let mut replayed = seen.clone();
    replayed.spans = None;

    let stage = || Decode::pages().schema(columns(&[("id", "int64")]));
    for decode in [stage(), stage().records("$.data[*]")] {
        for page in [&seen, &replayed] {
            let (batches, rejects) = apply(&mut decode.clone(), page.clone());
            assert_eq!((rows(&batches).num_rows(), rejects.len()), (2, 1));
        }
    }
    for page in [&seen, &replayed] {
        let error = stage().records("$.other[*]").apply(page.clone(), &mut Output::new()).expect_err("another path");
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("$.data[*]") && text.contains("$.other[*]"), "{text}");
    }

    // Marks of records that the log cannot give again decide nothing.
    for page in [&mut seen, &mut replayed] {
        page.records_path = None;
        let error = stage().apply(page.clone(), &mut Output::new()).expect_err("no array");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(apply(&mut stage().records("$.data[*]"), page.clone()).1.len(), 1);
    }
    // Each page says its own path.
    let mut decode = stage();
    let mut pages = [page(&[r#"{"id":1}"#]), replayed, page(&[r#"{"id":2}"#])];
    pages[1].records_path = Some("$.data[*]".into());
    let found: Vec<usize> = pages.into_iter().map(|page| rows(&apply(&mut decode, page).0).num_rows()).collect();
    assert_eq!(found, [1, 2, 1]);
}

#[tokio::test]
async fn an_inferring_decoder_needs_no_path_in_a_replay() {
    let (store, env) = (Store::memory(), Env::system());
    let landing = Landing::in_store(&store, "raw").expect("a name");
    let shard = ShardKey { pipeline: PipelineName::new("orders").expect("a name"), shard: 0 };
    let (mut writer, _) = LandingWriter::open(&landing, &shard, &env).await.expect("opens");
    let body = r#"{"data":[{"id":1,"at":"2024-05-17"},{"id":null}]}"#;
    let mut page = Page::new(PartitionId::from("p"), body, 2, Timestamp::from_micros(7));
    page.records_path = Some("$.data[*]".into());
    let landed = writer.append(SegmentDraft { pages: vec![page], ..Default::default() }).await.expect("lands");
    let read = LandingReader::new(&landing, &shard, &env).read(landed.number).await.expect("reads");
    let decoded = |mut pages: Vec<Page>| {
        rows(&apply(&mut Decode::pages().infer().provenance(), pages.pop().expect("the page")).0)
    };
    assert_eq!(decoded(landed.pages), decoded(read.expect("is there").pages));
}

#[test]
fn fields_of_the_page_are_fields_of_each_record() {
    let given = |text: &str| Some(RawValue::from_string(text.to_owned()).expect("JSON").into());
    let mut children = page(&[r#"{"id":1}"#, r#"{"id":2,"_post_id":8}"#, "{}", "3"]);
    children.fields = given(r#"{"_post_id":7,"_tags":["a","\u00e9"]}"#);
    let declared = columns(&[("id", "int64"), ("_post_id", "int64"), ("_tags", "list<utf8>")]);
    for mut decode in [Decode::pages().schema(declared.clone()), Decode::pages().infer()] {
        let (batches, rejects) = apply(&mut decode, children.clone());
        assert_eq!(decode.columns(), Some(&declared));
        let batch = rows(&batches);
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[7, 7]);
        assert!(batch.column(0).is_null(1));
        assert_eq!(batch.column(2).as_list::<i32>().value(1).as_string::<i32>().value(1), "é");
        // Which of the two is right nobody can tell.
        let reasons: Vec<_> = rejects.iter().map(|r| (r.code, r.raw.as_ref())).collect();
        assert_eq!(reasons, [("duplicate_key", br#"{"id":2,"_post_id":8}"#.as_slice()), ("type", b"3")]);
        assert!(rejects[0].reason.contains("fields of the page"), "{}", rejects[0].reason);

        // Another page has others, or none.
        let mut other = page(&[r#"{"id":3}"#]);
        assert!(rows(&apply(&mut decode, other.clone()).0).column(1).is_null(0));
        other.fields = given(r#"{"_post_id":9}"#);
        assert_eq!(rows(&apply(&mut decode, other).0).column(1).as_primitive::<Int64Type>().value(0), 9);
    }
    // They decide no columns without a record that has any.
    let mut empty = page(&["{}"]);
    empty.fields = given(r#"{"_post_id":7}"#);
    assert_eq!(apply(&mut Decode::pages().infer(), empty.clone()).1[0].code, "undecided");
    empty.fields = given("[7]");
    let error = Decode::pages().schema(declared).apply(empty, &mut Output::new()).expect_err("no object");
    assert_eq!(error.kind(), ErrorKind::Bug);
}
