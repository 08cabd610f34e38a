use super::*;
use crate::error::ErrorKind;

#[test]
fn types_are_written_as_they_are_read() {
    for text in [
        "bool",
        "int8",
        "uint64",
        "float32",
        "decimal(18,2)",
        "utf8",
        "utf8(text)",
        "json",
        "date",
        "timestamp",
        "timestamp(ms)",
        "timestamp(us, epoch_s)",
        "datetime",
        "datetime(ns)",
        "list<list<utf8>>",
        "struct<sku: utf8, \"unit price\" from price.\"net \\\"x\\\"\": decimal(18,2), c from d: list<struct<e: json>>>",
    ] {
        let kind: ColumnType = text.parse().expect(text);
        assert_eq!(kind.to_string(), text);
    }
    let loose: ColumnType = " struct < a :int64 ,b: decimal( 4 , 2 )>".parse().expect("spaces are free");
    assert_eq!(loose.to_string(), "struct<a: int64, b: decimal(4,2)>");
}

#[test]
fn text_that_is_no_type_is_refused() {
    let deep = "list<".repeat(40);
    for text in
        ["", "int", "int64 x", "decimal", "decimal(18)", "list<>", "list<int64", "struct<>", "struct<a int64>", &deep]
    {
        let error = text.parse::<ColumnType>().expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Config, "{text}");
    }
}

#[test]
fn columns_that_contradict_each_other_are_refused() {
    let at = |path: &[&str]| Column::new(path.join("_"), ColumnType::Int64).at(path.iter().copied());
    let nested = |kind: &str| Columns::new().typed("n", kind.parse().expect("a type"));
    for wrong in [
        Columns::new(),
        Columns::new().int64("id").utf8("ID"),
        Columns::new().int64(""),
        Columns::new().int64("a").column(Column::new("b", ColumnType::Int64).at(["a"])),
        Columns::new().column(at(&["a", "b"])).column(at(&["a"])),
        Columns::new().column(at(&[])).int64("x"),
        nested("decimal(39,2)"),
        nested("decimal(0,0)"),
        nested("decimal(2,3)"),
        nested("list<struct<a: int64, A: int64>>"),
    ] {
        assert_eq!(wrong.check().expect_err("wrong").kind(), ErrorKind::Config, "{wrong:?}");
    }
    Columns::new().column(at(&["a", "b"])).column(at(&["a", "c"])).int64("d").check().expect("beside each other");
}
