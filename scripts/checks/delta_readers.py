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
TEN = {10: SMALLEST | {"more": 1}, 11: LARGEST | {"more": 2}, 12: NULLS | {"more": 3}}
# By version: the first load, a column more, an upsert, what was only inserted, and the compaction.
VERSIONS = [OLD, {k: v | {"more": None} for k, v in OLD.items()} | TEN]
VERSIONS += [VERSIONS[1], ROWS, ROWS]


def second(n):
    return dt.datetime.fromtimestamp(n, UTC)


# id, name, from, to; None: what the test's clock says.
HISTORY = [(1, "a", 1, 5), (1, "b", 5, "open"), (2, "x", 2, 6), (2, "y", 6, "open"), (3, "n", 1, None), (4, "z", 6, 8)]
SWEPT = {0: [(1, "a"), (2, "b"), (3, "c")], 2: [(1, "A"), (2, "b"), (3, "c")], 3: [(1, "A"), (3, "c")]}


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


def readers():
    """How each reader gives the rows of a table, or of an old version of it."""
    import duckdb
    import polars

    connection = duckdb.connect()
    try:
        connection.execute("INSTALL delta; LOAD delta")
        extension = True
    except duckdb.Error as error:
        # The extension is a download. Without it DuckDB reads the files that are in the table.
        print(f"duckdb: without its extension: {str(error).splitlines()[0]}")
        extension = False

    def by_deltalake(path, version):
        return arrow_rows(deltalake.DeltaTable(path, version=version).to_pyarrow_table())

    def by_duckdb(path, version):
        if extension and version is None:
            query, given = "SELECT * FROM delta_scan(?)", path
        else:
            query = "SELECT * FROM read_parquet(?, hive_partitioning=true, hive_types={'part': VARCHAR}, union_by_name=true)"
            if not deltalake.DeltaTable(path).metadata().partition_columns:
                query = "SELECT * FROM read_parquet(?, union_by_name=true)"
            given = deltalake.DeltaTable(path, version=version).file_uris()
        return connection.execute(query, [given]).to_arrow_table().to_pylist(maps_as_pydicts="strict")

    def by_polars(path, version):
        return polars.scan_delta(path, version=version).collect().to_arrow().to_pylist()

    return {"deltalake": by_deltalake, "duckdb": by_duckdb, "polars": by_polars}


def same_rows(what, seen, expected):
    if sorted(seen, key=repr) == sorted(expected, key=repr):
        return 0
    print(f"{what}: {sorted(seen, key=repr)} instead of {sorted(expected, key=repr)}")
    return 1


def history(rows):
    """Versions of keys with their times, in seconds; the moment of the sweep is any that is later than the version began."""
    told = []
    for row in rows:
        begins, ends = plain(row["_landfall_valid_from"]), plain(row["_landfall_valid_to"])
        if len(row["_landfall_hash"]) != 32:
            print(f"hash: {row['_landfall_hash']}")
        swept = row["id"] == 3 and ends is not None and ends > begins
        seconds = None if swept else "open" if ends is None else (ends - second(0)).total_seconds()
        told.append((row["id"], row["name"], (begins - second(0)).total_seconds(), seconds))
    return told


def ledger(name, path, read):
    """Each row names a load that is entered, and the ledger tells each epoch once, with the version that it is in."""
    table = deltalake.DeltaTable(path)
    loads, schemas = read(f"{path}/_landfall/loads", None), read(f"{path}/_landfall/schema", None)
    entered = {load["load_id"] for load in loads}
    wrong = same_rows(f"{name}: rows without a load", [r["_landfall_load"] for r in read(path, None) if r["_landfall_load"] not in entered], [])
    wrong += same_rows(f"{name}: loads twice", [len(loads)], [len(entered)])
    told = {e["version"]: e["landfall"] for e in table.history() if "landfall" in e}
    expected = [(v, l["load_id"], l["rows_staged"], l["rows_inserted"], l["rows_updated"], l["rows_deleted"]) for v, l in told.items()]
    seen = [(l["table_version"], l["load_id"], l["rows_staged"], l["rows_inserted"], l["rows_updated"], l["rows_deleted"]) for l in loads]
    wrong += same_rows(f"{name}: loads", seen, expected)
    versions = {schema["version"] for schema in schemas}
    wrong += same_rows(f"{name}: schemas", [l["schema_version"] for l in loads if l["schema_version"] not in versions], [])
    return wrong


def main(lake):
    different, compared = 0, 0
    path = f"{lake}/orders"
    for name, read in readers().items():
        different += compare(name, read(path, None), ROWS)
        for version, expected in enumerate(VERSIONS):
            different += compare(f"{name}, version {version}", read(path, version), expected)
        different += same_rows(f"{name}, history", history(read(f"{lake}/history", None)), HISTORY)
        for version, expected in SWEPT.items():
            rows = read(f"{lake}/swept", version)
            different += same_rows(f"{name}, swept {version}", [(row["id"], row["name"]) for row in rows], expected)
        tables = ["orders", "history", "swept"]
        different += sum(ledger(f"{name}, {table}", f"{lake}/{table}", read) for table in tables)
        compared += 1 + len(VERSIONS) + 1 + len(SWEPT) + 2 * len(tables)
    table = deltalake.DeltaTable(path)
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
