//! Every type, at its edges: what is read back is what was written, or the row is in the quarantine.

use crate::columns::{TYPES, row};
use crate::load::batch;
use crate::support::{Kind, Load, World};
use landfall::columnar::Columns;
use landfall::columnar::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Decimal256Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use landfall::columnar::arrow::compute::cast;
use landfall::columnar::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, i256};
use landfall::columnar::arrow::util::display::array_value_to_string;
use landfall::sink::{Disposition, Writer};
use std::sync::Arc;

const TORTURE: &str = r#"
{"id":1,"b":true,"i8":-128,"i32":2147483647,"u64":9223372036854775807,"f32":1.5,"f64":1e308,"d":"1234567890123456789012345678.0123456789","t":"ä\"'\\\n€😀","j":{"z":1,"a":[1.10,null]},"day":"0001-01-01","at":"2024-02-29T23:59:59.999999+02:00","wall":"2024-03-31T02:30:00.125","tags":["a,b","","{}",null],"who":{"name":"Zoë","age":9007199254740993}}
{"id":2}
{"id":3,"b":false,"i8":127,"i32":-2147483648,"u64":0,"f32":-2.25,"f64":5e-324,"d":"-0.0000000001","t":"","j":"text","day":"9999-12-31","at":"1969-12-31T23:59:59.999999Z","wall":"0001-01-01T00:00:00","tags":[],"who":{"name":null,"age":null}}"#;

fn torture() -> Columns {
    Columns::parse(TYPES.into_iter().chain([("who", "struct<name: utf8, age: int64>")])).expect("types")
}

#[tokio::test]
async fn values_are_read_back_as_they_were_written() {
    let nested = [
        ("tags", [r#"["a,b","","{}",null]"#, "-", "[]"]),
        ("who", [r#"{"name":"Zoë","age":9007199254740993}"#, "-", r#"{"name":null,"age":null}"#]),
    ];
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), torture());
        load.load(TORTURE).await.expect("loads");
        let written = batch(&torture(), TORTURE);
        let mut compared = 0;
        for field in written.rows().schema().fields() {
            let query = format!("SELECT \"{}\" FROM {{orders}} ORDER BY id", field.name());
            let read = world.batches(&query).await;
            let texts = |column: &ArrayRef| -> Vec<String> {
                let column = &in_utc(column);
                let text = |row| array_value_to_string(column, row).expect("shows");
                (0..column.len()).map(|row| if column.is_null(row) { "-".to_owned() } else { text(row) }).collect()
            };
            let read: Vec<String> = read.iter().flat_map(|batch| texts(batch.column(0))).collect();
            let column = written.rows().column_by_name(field.name()).expect("is there");
            let expected = match nested.iter().find(|(name, _)| name == field.name()) {
                Some((_, texts)) => texts.map(str::to_owned).to_vec(),
                None => texts(column),
            };
            let same = |(read, expected): (&String, &String)| equal(read, expected, column.data_type());
            assert!(
                read.len() == 3 && read.iter().zip(&expected).all(same),
                "{:?}, {}: {read:?} is not {expected:?}",
                world.kind,
                field.name()
            );
            compared += read.len();
        }
        eprintln!("{:?}: values_compared={compared} different=0", world.kind);
    }
}

/// Times with a zone, as times of a zone that can be shown: drivers call UTC by several names.
fn in_utc(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            Arc::new(column.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("+00:00"))
        }
        _ => Arc::clone(column),
    }
}

/// Whether two texts mean the same value: drivers show times, numbers and bools in their own ways.
fn equal(read: &str, expected: &str, kind: &DataType) -> bool {
    if read == expected {
        return true;
    }
    let as_kind = |text: &str| {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
        cast(&texts, kind).ok().filter(|value| value.is_valid(0)).map(|v| array_value_to_string(&v, 0).expect("shows"))
    };
    let by_cast = as_kind(read).is_some_and(|value| Some(value) == as_kind(expected));
    match kind {
        DataType::Boolean => (read == "1") == (expected == "true"),
        // The text of PostgreSQL's numeric has no zeros at its end.
        DataType::Decimal128(..) => read.trim_end_matches('0') == expected.trim_end_matches('0') || by_cast,
        DataType::UInt64 => read.trim_end_matches('.') == expected,
        _ => by_cast,
    }
}

#[tokio::test]
async fn other_arrow_types_have_a_place_too() {
    for world in World::all().filter(|world| world.kind != Kind::Unknown) {
        let batch = row(vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2]))),
            ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(&b"\0\xff'"[..]), None]))),
            ("clock", Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), None]))),
            ("fine", Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), Some(1_001)]).with_timezone("+00:00"))),
            ("big", Arc::new(UInt64Array::from(vec![1, u64::MAX]))),
        ]);
        let mut load = Load::new(world.table(Disposition::Append), Columns::new());
        let mut writer = load.open(false).await.expect("opens");
        let rejects = writer.write(batch).await.expect("writes");
        assert_eq!(rejects.len(), 1, "a time that is finer than microseconds is not cut: {rejects:?}");
        assert!(rejects[0].reason.contains("`fine`"), "{}", rejects[0].reason);
        let staged = writer.finish().await.expect("finishes").expect("a row").staged;
        load.commit(&staged, false).await.expect("commits");
        let rows = world.ask("SELECT bytes, clock, big FROM {orders}").await;
        assert!(rows[0].starts_with("00ff27|23:59:59.999999|1"), "{:?}: {rows:?}", world.kind);
    }
}

#[tokio::test]
async fn a_number_that_has_no_place_is_refused_by_its_type_or_row_by_row() {
    let wide = i256::from_string(&"9".repeat(76)).expect("76 digits");
    for world in World::all() {
        let wide: ArrayRef =
            Arc::new(Decimal256Array::from(vec![Some(wide)]).with_precision_and_scale(76, 6).expect("fits"));
        let mut load = Load::new(world.table(Disposition::Append), Columns::new());
        let mut writer = load.open(false).await.expect("opens");
        let wrote = writer.write(row(vec![("wide", wide)])).await;
        match world.kind {
            // As text.
            Kind::Sqlite => assert!(wrote.expect("has a place").is_empty()),
            _ => assert!(wrote.expect_err("38 digits at most").to_string().contains("`wide`")),
        }
        let big: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
        let mut writer = load.open(false).await.expect("opens");
        let rejects = writer.write(row(vec![("big", big)])).await.expect("writes");
        assert_eq!(rejects.len(), usize::from(world.kind == Kind::Sqlite), "{:?}: {rejects:?}", world.kind);
    }
}

#[tokio::test]
async fn a_zero_byte_is_refused_where_it_has_no_place() {
    for world in World::all() {
        let mut load = Load::new(world.table(Disposition::Append), Columns::new().int64("id").utf8("t"));
        let (output, rejects) =
            load.stage("{\"id\":1,\"t\":\"a\\u0000b\"}\n{\"id\":2,\"t\":\"c\"}").await.expect("stages");
        let holds = matches!(world.kind, Kind::DuckDb | Kind::Sqlite);
        assert_eq!(rejects.len(), usize::from(!holds), "{:?}", world.kind);
        load.commit(&output.expect("rows").staged, false).await.expect("commits");
        let rows = world.ask("SELECT t FROM {orders} ORDER BY id").await;
        assert_eq!(rows.first().map(String::as_str), Some(if holds { "a\0b" } else { "c" }));
    }
}
