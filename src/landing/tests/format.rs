use super::super::block::Packer;
use super::super::manifest::{self, Manifest, Place, keep};
use super::super::segment::{decode, encode};
use super::*;
use crate::ErrorKind;
use crate::model::{LandingPosition, Origin, Part, Proof, StopReason};
use serde_json::value::RawValue;

const CODECS: [Compression; 4] = [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(-3)];

fn packer(compression: Compression) -> Arc<Packer> {
    Arc::new(Packer::new(compression))
}

fn order(id: usize) -> String {
    format!(
        r#"{{"id":{id},"customer":{},"status":"paid","amount":"{}.50","note":"{}"}}"#,
        id * 7,
        id % 90,
        "x".repeat(id % 60)
    )
}

/// Pages as odd as they come.
fn odd_pages() -> Vec<Page> {
    let orders = (0..3_000).map(order).collect::<Vec<_>>().join("\n");
    let noise: Vec<u8> = (0..300_000_u64).map(|n| xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()) as u8).collect();
    let mut pages = vec![
        page("", "", 0),
        page("a", orders.clone(), 3_000),
        page("Größe/名前\u{0}\n\"", "{}", 1),
        page("a", noise, 1),
        page("big", "0123456789abcdef".repeat((10 << 20) / 16), 5),
        page("a", "", 0),
        page("a", orders, 3_000),
    ];
    for (index, page) in (0..).zip(pages.iter_mut().skip(1).take(3)) {
        page.part = Some(Part { response: u64::MAX - 7, index, last: index == 2 });
    }
    let last = pages.last_mut().expect("not empty");
    last.request = "GET /v1/orders?page=2&q=%C3%A4".to_owned();
    last.status = 206;
    last.headers = vec![("etag".to_owned(), "\"ü\"".to_owned()), ("etag".to_owned(), String::new())];
    last.received_at = Timestamp::from_micros(i64::MIN);
    last.records_path = Some("$['größe'][*]".into());
    last.fields = Some(fields(r#"{ "_größe" : 1.50, "n": 18446744073709551616 }"#));
    pages
}

fn empty_manifest() -> Manifest {
    Manifest::new(
        keep(&BTreeMap::<PartitionId, PositionValue>::new()).expect("no positions"),
        keep(&Vec::<PartitionEnd>::new()).expect("no ends"),
    )
}

async fn decoded(payload: &Bytes, segment: u64) -> Result<Vec<Page>> {
    let shard = shard();
    let place = Place { shard: &shard, segment };
    let (manifest, blocks) = manifest::parse(payload, place)?;
    decode(&env(), place, payload, manifest, blocks).await
}

#[tokio::test]
async fn odd_pages_come_back_as_they_were() {
    for compression in CODECS {
        let pages = odd_pages();
        let (payload, same) =
            encode(&env(), &packer(compression), pages.clone(), empty_manifest()).await.expect("encodes");
        assert!(same.iter().map(content).eq(pages.iter().map(content)), "{compression:?}: the caller's pages changed");
        let back = decoded(&payload, 9).await.expect("decodes");
        assert!(back.iter().map(content).eq(pages.iter().map(content)), "{compression:?}: other pages came back");
        let starts: Vec<u64> = back.iter().filter_map(|p| p.origin).map(|o| o.start.record).collect();
        assert_eq!(starts, [0, 0, 3_000, 3_001, 3_002, 3_007, 3_007]);
        let origin = Origin { start: LandingPosition { segment: 9, record: 3_007 }, page: 6 };
        assert_eq!(back.last().and_then(|p| p.origin), Some(origin));
        if compression != Compression::None {
            assert!(payload.len() < 1_000_000, "{compression:?}: not compressed");
        }
    }
}

#[tokio::test]
async fn a_segment_without_pages_is_a_segment() {
    let (payload, _) = encode(&env(), &packer(Compression::Lz4), Vec::new(), empty_manifest()).await.expect("encodes");
    assert!(decoded(&payload, 1).await.expect("decodes").is_empty());
}

#[tokio::test]
async fn small_pages_share_blocks_and_large_ones_do_not() {
    let sizes = [400_000, 400_000, 400_000, 3_000_000, 10, 0, 1_048_576];
    let pages = sizes.iter().map(|&size| page("a", "x".repeat(size), 1)).collect();
    let (payload, _) = encode(&env(), &packer(Compression::None), pages, empty_manifest()).await.expect("encodes");
    let shard = shard();
    let (manifest, _) = manifest::parse(&payload, Place { shard: &shard, segment: 1 }).expect("parses");
    let blocks: Vec<u32> = manifest.pages.iter().map(|p| p.block).collect();
    assert_eq!(blocks, [0, 0, 1, 2, 3, 3, 4]);
}

#[tokio::test]
async fn a_changed_byte_never_goes_unseen() {
    for compression in CODECS {
        let pages: Vec<Page> =
            (0..4).map(|p| page("a", (0..50).map(|n| order(p * 50 + n)).collect::<String>(), 50)).collect();
        let (payload, _) =
            encode(&env(), &packer(compression), pages.clone(), empty_manifest()).await.expect("encodes");
        let step = (payload.len() / 1_500).max(1);
        for at in (0..payload.len()).filter(|at| *at < 24 || at % step == 0) {
            let mut damaged = payload.to_vec();
            damaged[at] ^= 0x10;
            match decoded(&damaged.into(), 3).await {
                // Another way to write the same bytes is no damage to the pages; the record's frame has its own checksum.
                Ok(back) => {
                    assert!(back.iter().map(content).eq(pages.iter().map(content)), "{compression:?}, byte {at}")
                }
                Err(e) if at == 4 || at == 5 => assert_eq!(e.kind(), ErrorKind::Config, "{e}"),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
                    assert!(e.to_string().contains("shard=`orders/0000`, segment=`3`"), "{e}");
                }
            }
        }
        for length in (0..payload.len()).step_by(step) {
            assert!(decoded(&payload.slice(..length), 3).await.is_err(), "{compression:?}, cut at {length}");
        }
        let longer = [payload.as_ref(), b"x"].concat().into();
        assert!(decoded(&longer, 3).await.is_err(), "{compression:?}, one byte more");
    }
}

#[tokio::test]
async fn a_newer_segment_asks_for_an_upgrade() {
    let (payload, _) = encode(&env(), &packer(Compression::Lz4), odd_pages(), empty_manifest()).await.expect("encodes");
    let mut newer = payload.to_vec();
    newer[4] = 2;
    // Whatever else is other than here.
    newer.truncate(30);
    let error = decoded(&newer.into(), 12).await.expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = format!("{error} {}", error.hint().unwrap_or_default());
    assert!(text.contains("segment=`12`") && text.contains("upgrade"), "{text}");
}

#[tokio::test]
async fn a_header_that_was_never_written_is_damage() {
    let (payload, _) = encode(&env(), &packer(Compression::None), vec![], empty_manifest()).await.expect("encodes");
    for (at, byte) in [(4, 0), (6, 1), (7, 1)] {
        let mut damaged = payload.to_vec();
        damaged[at] = byte;
        let error = decoded(&damaged.into(), 3).await.expect_err("no version has it");
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("never written"), "{at}: {error}");
    }
}

#[tokio::test]
async fn damage_names_the_page() {
    let pages = (0..3).map(|_| page("a", "x".repeat(700_000), 1)).collect();
    let (payload, _) = encode(&env(), &packer(Compression::None), pages, empty_manifest()).await.expect("encodes");
    let mut damaged = payload.to_vec();
    let at = damaged.len() - 700_001;
    damaged[at] = b'y';
    let e = decoded(&damaged.into(), 12).await.expect_err("damaged");
    assert!(e.to_string().contains("segment=`12`, page=`1`"), "{e}");
}

#[tokio::test]
async fn what_would_not_come_back_is_not_written() {
    let mut deep = serde_json::Value::Null;
    for _ in 0..200 {
        deep = serde_json::Value::Array(vec![deep]);
    }
    let endless = Validity::ShortLived { until: Some(Timestamp::from_micros(i64::MAX)) };
    for bad in [PositionValue::new(deep, Validity::Durable), PositionValue::new(1, endless)] {
        let store = Store::memory();
        let (mut writer, _) = open(&store).await.expect("opens");
        let draft = SegmentDraft { positions: [("a".into(), bad)].into(), ..SegmentDraft::default() };
        assert_eq!(writer.append(draft).await.expect_err("refused").kind(), ErrorKind::Bug);
        assert_eq!(reader(&store).read(2).await.expect("no damage").map(|s| s.number), None);
    }
}

#[tokio::test]
async fn any_record_can_be_resumed_at() {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    let counts = [0, 3, 0, 1, 4, 0];
    let pages = counts.iter().map(|&records| page("a", format!("{records}"), records)).collect();
    let landed = writer.append(SegmentDraft { pages, ..SegmentDraft::default() }).await.expect("lands");
    let whole = reader(&store).read(landed.number).await.expect("reads").expect("is there");
    for record in 0..=8_u64 {
        let rest = whole.clone().after(LandingPosition { segment: landed.number, record }).expect("within");
        let first = rest.pages.first().expect("a page without records at the end stays");
        let next = first.origin.expect("landed").start.record + first.skip;
        assert_eq!(next, record, "skips what is not consumed, or repeats what is");
        assert_eq!(rest.pages.iter().map(|p| p.records - p.skip).sum::<u64>(), 8 - record);
        assert!(rest.pages.iter().skip(1).all(|p| p.skip == 0));
    }
    let beyond = whole.clone().after(LandingPosition { segment: landed.number, record: 9 });
    assert_eq!(beyond.expect_err("not a place").kind(), ErrorKind::Corrupt);
    let later = whole.clone().after(LandingPosition { segment: landed.number + 1, record: 7 }).expect("later");
    assert!(later.pages.is_empty());
    let earlier = whole.clone().after(LandingPosition { segment: landed.number - 1, record: 7 }).expect("earlier");
    assert_eq!(earlier.pages.len(), 6);
}

#[tokio::test]
async fn what_was_appended_is_read_back_with_its_origin() {
    let store = Store::memory();
    let (mut writer, _) = open(&store).await.expect("opens");
    let ended = vec![PartitionEnd {
        partition: "a".into(),
        reason: StopReason::Exhausted(Proof::TotalMatched(7)),
        pages: 2,
        records: 7,
    }];
    let draft = SegmentDraft { pages: odd_pages(), ended: ended.clone(), ..SegmentDraft::default() };
    let landed = writer.append(draft).await.expect("lands");
    let segment = reader(&store).read(landed.number).await.expect("reads").expect("is there");
    assert!(!segment.is_fence);
    assert_eq!(segment.ended, ended);
    let origins = |pages: &[Page]| pages.iter().map(|p| p.origin).collect::<Vec<_>>();
    assert_eq!(origins(&segment.pages), origins(&landed.pages));
    assert!(segment.pages.iter().map(content).eq(odd_pages().iter().map(content)));
    let fence = reader(&store).read(1).await.expect("reads").expect("is there");
    assert!(fence.is_fence && fence.pages.is_empty());
    assert_eq!(reader(&store).newest().await.expect("reads"), landed.number);
    assert_eq!(reader(&store).read(landed.number + 1).await.expect("reads").map(|s| s.number), None);
}

/// The bytes of version 1, written once. They never change.
#[tokio::test]
async fn the_frozen_segments_of_version_1_are_read() {
    for frozen in [
        include_bytes!("../../../tests/fixtures/segment-v1.plain").as_slice(),
        include_bytes!("../../../tests/fixtures/segment-v1.lz4"),
        include_bytes!("../../../tests/fixtures/segment-v1.zstd"),
    ] {
        let payload = Bytes::from_static(frozen);
        let pages = decoded(&payload, 7).await.expect("reads");
        assert!(pages.iter().map(content).eq(frozen_pages().iter().map(content)));
        let shard = shard();
        let place = Place { shard: &shard, segment: 7 };
        let (manifest, _) = manifest::parse(&payload, place).expect("parses");
        assert_eq!(
            manifest::parse_kept::<BTreeMap<PartitionId, PositionValue>>(&manifest.positions, place)
                .expect("positions"),
            frozen_positions()
        );
        assert_eq!(manifest::parse_kept::<Vec<PartitionEnd>>(&manifest.ended, place).expect("ends"), frozen_ends());
        assert_eq!(manifest.base, 5);
        let newer = [&frozen[..4], &[2, 0], &frozen[6..]].concat();
        assert_eq!(decoded(&newer.into(), 7).await.expect_err("newer").kind(), ErrorKind::Config);
    }
}

/// What version 1 can hold besides: fields, rows of CSV with their columns, windows, and rows that are taken back.
#[tokio::test]
async fn the_frozen_segment_with_fields_and_columns_is_read_and_written_again() {
    let payload = Bytes::from_static(include_bytes!("../../../tests/fixtures/segment-fields-v1.plain"));
    let pages = decoded(&payload, 7).await.expect("reads");
    let window = crate::model::Window::new("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z");
    let path = |page: &Page| page.records_path.as_deref().map(str::to_owned);
    assert_eq!(path(&pages[0]).as_deref(), Some(r#"csv{"columns":["id","name"],"header":true}"#));
    assert_eq!(pages[0].fields.as_ref().map(|fields| fields.get()), Some(r#"{"_post":7}"#));
    assert_eq!(path(&pages[1]).as_deref(), Some(r#"csv{"delimiter":";","columns":["id","name"]}"#));
    assert_eq!(pages[1].fields.as_ref().map(|fields| fields.get()), Some(r#"{"_post":8,"_title":"b"}"#));
    assert_eq!(pages.iter().map(|page| page.window.clone()).collect::<Vec<_>>(), [None, None, Some(window)]);
    #[cfg(any(feature = "http", feature = "arrow"))]
    for page in &pages {
        let path = crate::records::RecordsPath::parse(page.records_path.as_deref().expect("is said")).expect("a path");
        let spans = path.spans(&page.body, page.part).expect("records");
        assert_eq!(spans.len() as u64, page.records, "{page:?}");
    }
    let shard = shard();
    let place = Place { shard: &shard, segment: 7 };
    let (manifest, _) = manifest::parse(&payload, place).expect("parses");
    let moved = manifest.moved(place).expect("rows");
    let rows: Vec<(&str, bool)> = moved.iter().map(|(key, value)| (key.as_str(), value.get() == "null")).collect();
    let expected = [
        (r#"c["all",["2024-01-01T00:00:00Z","2024-02-01T00:00:00Z"]]"#, false),
        (r#"c["all",["2024-01-07","2024-01-08"]]"#, true),
        (r#"c["all",null]"#, false),
        ("pall", false),
        ("ppost=6", true),
    ];
    assert_eq!(rows, expected);
    let empty = Manifest { pages: Vec::new(), blocks: Vec::new(), totals: Default::default(), ..manifest };
    let (again, _) = encode(&env(), &packer(Compression::None), pages, empty).await.expect("encodes");
    assert_eq!(again, payload, "the bytes of version 1 do not change");
}

fn frozen_pages() -> Vec<Page> {
    let mut first = page("2024-01", r#"{"data":[{"id":1,"name":"Ä"},{"id":2,"name":"Ä"},{"id":3,"name":"Ä"}]}"#, 3);
    first.request = "GET /v1/orders?page=1".to_owned();
    first.status = 200;
    first.headers = vec![("etag".to_owned(), "\"33a6\"".to_owned())];
    let mut second = page("2024-02", "{\"id\":4}\n".repeat(20), 20);
    second.part = Some(Part { response: 18_446_744_073_709_551_557, index: 3, last: true });
    vec![first, second, page("2024-03", "", 0)]
}

fn fields(text: &str) -> Arc<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON").into()
}

fn frozen_positions() -> BTreeMap<PartitionId, PositionValue> {
    let token = serde_json::json!({"token": "3e8", "page": 2});
    let until = Some(Timestamp::from_micros(1_700_000_600_000_000));
    [
        (PartitionId::from("2024-01"), PositionValue::new(token, Validity::ShortLived { until })),
        (PartitionId::from("2024-02"), position(u64::MAX)),
        (PartitionId::from("2024-03"), PositionValue::new("x", Validity::Unstable)),
    ]
    .into()
}

fn frozen_ends() -> Vec<PartitionEnd> {
    let end = |partition: &str, reason| PartitionEnd { partition: partition.into(), reason, pages: 1, records: 3 };
    vec![
        end("2024-01", StopReason::Exhausted(Proof::NoNextPage)),
        end("2024-02", StopReason::RateLimited { until: Some(Timestamp::from_micros(1_700_000_600_000_000)) }),
    ]
}

#[tokio::test]
async fn the_frozen_load_progress_is_what_is_written_and_read() {
    const PROGRESS: &str = include_str!("../../../tests/fixtures/load-progress-1.json");
    const KNOWN: &str = include_str!("../../../tests/fixtures/known-load-1.json");
    let path = |name: &str| ObjectPath::parse(&format!("raw/orders/loads/0000/{name}")).expect("a valid name");
    let position = LandingPosition { segment: 7, record: 3 };
    let store = Store::memory();
    let retention = Retention::new(&landing(&store), &shard(), &env());
    retention.publish(&load("etl"), &life(), position).await.expect("publishes");
    let progress = format!("etl-{}.json", life());
    for (name, frozen) in [(progress.as_str(), PROGRESS), ("known/000001.json", KNOWN)] {
        let written = store.get(&path(name), None).await.expect("reads").expect("is there");
        assert_eq!(String::from_utf8_lossy(&written), frozen.trim_end());
    }

    let store = Store::memory();
    store.put(&path(&progress), PROGRESS.into()).await.expect("writes");
    store.put(&path("known/000001.json"), KNOWN.into()).await.expect("writes");
    let retention = Retention::new(&landing(&store), &shard(), &env());
    assert_eq!(retention.retained().await.expect("reads"), Some(position));
}
