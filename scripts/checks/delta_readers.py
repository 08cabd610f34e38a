"""Compares a Delta table with what it must hold, as several readers see it."""

import datetime as dt
import sys
from decimal import Decimal

import deltalake
import pyarrow as pa

UTC = dt.timezone.utc
SMALLEST = {
    "flag": False, "i8": -(2**7), "i16": -(2**15), "i32": -(2**31), "i64": -(2**63), "u8": 0, "u32": 0, "u64": Decimal(0),
    "f32": -3.4028234663852886e38, "f64": 2.2250738585072014e-308, "decimal": Decimal("-9999999999999999999999999999.9999999999"),
    "text": "", "bytes": b"", "day": dt.date(1, 1, 1), "at": dt.datetime(1, 1, 1, tzinfo=UTC),
    "zoned": dt.datetime(1970, 1, 1, tzinfo=UTC), "local": dt.datetime(1970, 1, 1, 0, 0, 0, 1),
    "nested": {"n": -(2**63), "t": ""}, "list": [], "map": {"a": "1", "b": None}, "part": "a b/c=d%",
}
LARGEST = {
    "flag": True, "i8": 2**7 - 1, "i16": 2**15 - 1, "i32": 2**31 - 1, "i64": 2**63 - 1, "u8": 255, "u32": 2**32 - 1,
    "u64": Decimal(2**64 - 1), "f32": -0.0, "f64": 1.7976931348623157e308, "decimal": Decimal("0.0000000001"),
    "text": 'ü\U0001f600\n"\\,', "bytes": b"\x00\xff", "day": dt.date(9999, 12, 31),
    "at": dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "zoned": dt.datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC), "local": dt.datetime(1969, 12, 31, 23, 59, 59, 999999),
    "nested": {"n": 2**63 - 1, "t": 'ü\U0001f600\n"\\,'}, "list": [-(2**31), None, 2**31 - 1], "map": {}, "part": "ü",
}
NULLS = dict.fromkeys(SMALLEST)
# The struct itself is there.
NULLS["nested"] = {"n": None, "t": None}

ROWS = {
    0: SMALLEST | {"more": None}, 1: LARGEST | {"more": None}, 2: NULLS | {"more": None}, 3: NULLS | {"more": 3},
    10: SMALLEST | {"more": 1}, 11: LARGEST | {"more": 2}, 12: NULLS | {"more": 3},
}
OLD = {0: SMALLEST, 1: LARGEST, 2: NULLS}


def plain(value):
    """A value as Python has it, whichever reader gave it."""
    if isinstance(value, list) and value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
        return {k: plain(v) for k, v in value}
    if isinstance(value, list) and value and all(isinstance(v, dict) and set(v) == {"key", "value"} for v in value):
        return {v["key"]: plain(v["value"]) for v in value}
    if isinstance(value, dict) and set(value) == {"key", "value"} and isinstance(value["key"], list):
        return dict(zip(value["key"], value["value"]))
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return value


def same(name, expected, seen):
    if name == "map" and seen == [] and expected == {}:
        return True
    return repr(expected) == repr(seen) if isinstance(expected, float) else expected == seen


def compare(reader, rows, expected):
    seen = {row["id"]: {k: plain(v) for k, v in row.items() if k != "id"} for row in rows}
    wrong = []
    if len(rows) != len(expected) or set(seen) != set(expected):
        wrong.append(f"ids {sorted(row['id'] for row in rows)} instead of {sorted(expected)}")
    for key in set(seen) & set(expected):
        for name, value in expected[key].items():
            if name not in seen[key] or not same(name, value, seen[key][name]):
                wrong.append(f"row {key}, {name}: {seen[key].get(name)!r} instead of {value!r}")
    for line in wrong:
        print(f"{reader}: {line}")
    return len(wrong)


def arrow_rows(table):
    return pa.table(table).to_pylist(maps_as_pydicts="strict")


def main(path):
    different, compared = 0, 0
    table = deltalake.DeltaTable(path)
    versions = [("deltalake", arrow_rows(table.to_pyarrow_table() if hasattr(table, "to_pyarrow_table") else table.to_arrow()), ROWS)]
    versions.append(("deltalake, version 0", arrow_rows(deltalake.DeltaTable(path, version=0).to_pyarrow_table()), OLD))
    import duckdb

    connection = duckdb.connect()
    try:
        connection.execute("INSTALL delta; LOAD delta")
        query, given = "SELECT * FROM delta_scan(?)", path
    except duckdb.Error as error:
        # The extension is a download. Without it DuckDB reads the files that are in the table.
        print(f"duckdb: without its extension: {str(error).splitlines()[0]}")
        query = "SELECT * FROM read_parquet(?, hive_partitioning=true, hive_types={'part': VARCHAR}, union_by_name=true)"
        given = table.file_uris()
    seen = connection.execute(query, [given]).to_arrow_table()
    versions.append(("duckdb", seen.to_pylist(maps_as_pydicts="strict"), ROWS))
    import polars
    versions.append(("polars", polars.scan_delta(path).collect().to_arrow().to_pylist(), ROWS))
    for reader, rows, expected in versions:
        different += compare(reader, rows, expected)
        compared += 1
    # Others can write to it, and the marks of this crate survive their checkpoints.
    marks = {i: table.transaction_version(i) for i in ("landfall/orders/0000", "landfall/orders/0000/generation", "landfall/orders/0000/mark/0")}
    row = pa.Table.from_pylist([ROWS[0] | {"id": 100}], schema=pa.schema(table.schema().to_arrow()))
    deltalake.write_deltalake(path, row, mode="append")
    table = deltalake.DeltaTable(path)
    table.create_checkpoint()
    table = deltalake.DeltaTable(path)
    after = {i: table.transaction_version(i) for i in marks}
    if marks != after or None in marks.values():
        different += 1
        print(f"marks: {after} instead of {marks}")
    print(f"tables_compared={compared} different={different}")
    return 1 if different else 0


sys.exit(main(sys.argv[1]))
