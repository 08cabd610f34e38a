//! Every type, at its edges: what is read back is what was written, or the row is in the quarantine.

use crate::columns::{TYPES, row};
use crate::support::{Load, World};
use landfall::columnar::Columns;
use landfall::columnar::arrow::array::{
    BinaryArray, Decimal256Array, Int64Array, Time64MicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use landfall::columnar::arrow::datatypes::i256;
use landfall::sink::{Disposition, Writer};
use std::sync::Arc;

#[tokio::test]
async fn values_are_read_back_as_they_were_written() {
    let Some(world) = World::new().await else { return };
    let more = [
        ("prices", "list<decimal(18,2)>"),
        ("grid", "list<list<int64>>"),
        ("who", "struct<name: utf8, age: int64, extra: json>"),
    ];
    let columns = Columns::parse(TYPES.into_iter().chain(more)).expect("types");
    let mut load = Load::new(world.table(Disposition::Append), columns);
    let lines = r#"
{"id":1,"b":true,"i8":-128,"i32":2147483647,"u64":18446744073709551615,"f32":1.5,"f64":1e308,"d":"1234567890123456789012345678.0123456789","t":"ä\"'\\\n€😀","j":{"z":1,"a":[1.10,null]},"day":"0001-01-01","at":"2024-02-29T23:59:59.999999+02:00","wall":"2024-03-31T02:30:00.125","tags":["a,b","","{}",null],"prices":["-0.01","1000.00"],"grid":[[1,2],[3]],"who":{"name":"Zoë","age":9007199254740993,"extra":{"n":1.10}}}
{"id":2}
{"id":3,"b":false,"i8":127,"i32":-2147483648,"u64":0,"f32":-0.0,"f64":5e-324,"d":"-0.0000000001","t":"","j":"text","day":"9999-12-31","at":"1969-12-31T23:59:59.999999Z","wall":"0001-01-01T00:00:00","tags":[],"prices":[],"grid":[],"who":{"name":null,"age":null,"extra":null}}"#;
    load.load(lines).await.expect("loads");
    let query =
        "SELECT b, i8, i32, u64, f32, f64, d, t, j, day, at, wall, tags, prices, grid, who FROM {orders} ORDER BY id";
    let rows = world.ask(&format!("SET extra_float_digits = 3; SET TimeZone = 'UTC'; {query}")).await;
    assert_eq!(
        rows,
        [
            "t|-128|2147483647|18446744073709551615|1.5|1e+308|1234567890123456789012345678.0123456789|ä\"'\\\n€😀|\
             {\"a\": [1.10, null], \"z\": 1}|0001-01-01|2024-02-29 21:59:59.999999+00|2024-03-31 02:30:00.125|\
             {\"a,b\",\"\",\"{}\",NULL}|{-0.01,1000.00}|[[1, 2], [3]]|{\"age\": 9007199254740993, \"name\": \"Zoë\", \"extra\": {\"n\": 1.10}}",
            "-|-|-|-|-|-|-|-|-|-|-|-|-|-|-|-",
            "f|127|-2147483648|0|-0|5e-324|-0.0000000001||\"text\"|9999-12-31|1969-12-31 23:59:59.999999+00|0001-01-01 00:00:00|\
             {}|{}|[]|{\"age\": null, \"name\": null, \"extra\": null}",
        ]
    );
    let kinds = world
        .ask(&format!(
            "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{}'::regclass AND attnum > 0",
            world.name("orders").replace('\'', "''")
        ))
        .await;
    assert_eq!(
        kinds,
        [
            "bigint, boolean, smallint, integer, numeric(20,0), real, double precision, numeric(38,10), text, jsonb, date, \
          timestamp with time zone, timestamp without time zone, text[], numeric(18,2)[], jsonb, jsonb, text"
        ]
    );
}

#[tokio::test]
async fn other_arrow_types_have_a_place_too() {
    let Some(world) = World::new().await else { return };
    let wide = i256::from_string(&"9".repeat(76)).expect("76 digits");
    let batch = row(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(&b"\0\xff'"[..]), None]))),
        (
            "wide",
            Arc::new(Decimal256Array::from(vec![Some(wide), None]).with_precision_and_scale(76, 6).expect("fits")),
        ),
        ("clock", Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), None]))),
        ("fine", Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), Some(1_001)]).with_timezone("+00:00"))),
        ("big", Arc::new(UInt64Array::from(vec![u64::MAX, 1]))),
    ]);
    let mut load = Load::new(world.table(Disposition::Append), Columns::new());
    let mut writer = load.open(false).await.expect("opens");
    let rejects = writer.write(batch).await.expect("writes");
    assert_eq!(rejects.len(), 1, "a time that is finer than microseconds is not cut: {rejects:?}");
    assert!(rejects[0].reason.contains("`fine`"), "{}", rejects[0].reason);
    let staged = writer.finish().await.expect("finishes").expect("a row").staged;
    load.commit(&staged, false).await.expect("commits");
    let rows = world.ask("SELECT bytes, wide, clock, big FROM {orders}").await;
    assert_eq!(rows, [format!("\\x00ff27|{}.{}|23:59:59.999999|18446744073709551615", "9".repeat(70), "9".repeat(6))]);
}

#[tokio::test]
async fn what_the_database_cannot_hold_is_refused_row_by_row() {
    let Some(world) = World::new().await else { return };
    let columns =
        Columns::parse([("id", "int64"), ("t", "utf8"), ("j", "json"), ("day", "date"), ("tags", "list<utf8>")])
            .expect("types");
    let mut load = Load::new(world.table(Disposition::Append), columns);
    let lines = r#"
{"id":1,"t":"fine"}
{"id":2,"t":"a\u0000b"}
{"id":3,"j":{"a":["\u0000"]}}
{"id":4,"tags":["ok","\u0000"]}
{"id":5,"j":{"a":"\\u0000"}}
{"id":6,"t":"fine too"}"#;
    let (output, rejects) = load.stage(lines).await.expect("stages");
    let refused: Vec<_> = rejects.iter().map(|r| String::from_utf8_lossy(&r.raw).into_owned()).collect();
    assert_eq!(refused.len(), 3, "{rejects:?}");
    assert!(refused.iter().zip(["2", "3", "4"]).all(|(raw, id)| raw.contains(&format!("\"id\":{id}"))), "{refused:?}");
    load.commit(&output.expect("rows").staged, false).await.expect("commits");
    assert_eq!(world.ask("SELECT id, j FROM {orders} ORDER BY id").await, ["1|-", "5|{\"a\": \"\\\\u0000\"}", "6|-"]);
}

#[tokio::test]
async fn a_uuid_stays_one_and_takes_what_fits() {
    let Some(world) = World::new().await else { return };
    world.ask(&format!("CREATE SCHEMA {}", world.schema_name())).await;
    world.ask("CREATE TABLE {orders} (id bigint, u uuid)").await;
    let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("id").utf8("u"));
    let lines = "{\"id\":1,\"u\":\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"}\n{\"id\":5,\"u\":\"no\"}\n{\"id\":6,\"u\":\"+0EEBC999C0B4EF8BB6D6BB9BD380A11\"}";
    let (output, rejects) = load.stage(lines).await.expect("stages");
    assert_eq!(rejects.len(), 2, "{rejects:?}");
    load.commit(&output.expect("a row").staged, false).await.expect("commits");
    assert_eq!(world.ask("SELECT id, u FROM {orders}").await, ["1|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]);

    let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("id").bool("u"));
    let error = load.stage("{\"id\":1,\"u\":true}").await.expect_err("a bool is no uuid");
    assert!(error.to_string().contains("`u`") && error.to_string().contains("uuid"), "{error}");
}

#[tokio::test]
async fn what_the_commit_could_not_take_is_refused_before_it() {
    let Some(world) = World::new().await else { return };
    let columns = Columns::new().utf8("id").utf8("since").json("j");
    let mut load = Load::new(world.table(landfall::sink::Upsert::by(["id"])), columns.clone());
    let long = "x".repeat(3_000);
    let lines = format!("{{\"id\":\"{long}\"}}\n{{\"id\":\"a\",\"j\":1e999999}}\n{{\"id\":\"b\",\"j\":\"1e999999\"}}");
    let (output, rejects) = load.stage(&lines).await.expect("stages");
    assert_eq!(rejects.iter().map(|r| r.code).collect::<Vec<_>>(), ["long_key", "unfit"], "{rejects:?}");
    load.commit(&output.expect("a row").staged, false).await.expect("commits");
    assert_eq!(world.ask("SELECT id FROM {orders}").await, ["b"]);

    let table =
        landfall::connectors::postgres::PostgresTable::at(&world.database, &format!("{}.versions", world.schema))
            .expect("a name");
    let mut load = Load::new(table.disposition(landfall::sink::Scd2::by(["id"]).since("since")), columns);
    let error = load.stage("{\"id\":\"a\",\"since\":\"n/a\"}").await.map(drop).expect_err("text is no time");
    assert_eq!(error.kind(), landfall::ErrorKind::Config, "{error}");
}
