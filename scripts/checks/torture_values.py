"""The columns and the rows of the torture table, and one plain form of every value, whichever reader gave it."""

import datetime as dt
import decimal
import json
import struct
from decimal import Decimal

import pyarrow as pa

# Its default rounds to 28 digits.
decimal.getcontext().prec = 80

UTC = dt.timezone.utc
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
JSON = {"ARROW:extension:name": "arrow.json", "ARROW:extension:metadata": ""}

NESTED = [
    ("n", pa.int64()), ("t", pa.utf8()), ("d", pa.decimal128(38, 10)), ("f", pa.float64()), ("b", pa.binary()),
    ("at", pa.timestamp("us", "UTC")), ("inner", pa.struct([("x", pa.bool_()), ("list", pa.list_(pa.int64()))])),
]
EARLY = [
    # In front of others: who takes columns by their place finds the wrong ones where these are not in the files.
    pa.field("part", pa.utf8()), pa.field("p_day", pa.date32()), pa.field("p_int", pa.int64()), pa.field("p_flag", pa.bool_()),
    pa.field("id", pa.int64()),
    pa.field("flag", pa.bool_()),
    pa.field("i8", pa.int8()), pa.field("i16", pa.int16()), pa.field("i32", pa.int32()), pa.field("i64", pa.int64()),
    pa.field("u8", pa.uint8()), pa.field("u16", pa.uint16()), pa.field("u32", pa.uint32()), pa.field("u64", pa.uint64()),
    pa.field("f16", pa.float16()), pa.field("f32", pa.float32()), pa.field("f64", pa.float64()),
    pa.field("whole", pa.decimal128(38, 0)), pa.field("part_only", pa.decimal128(38, 38)),
    pa.field("both", pa.decimal128(38, 10)), pa.field("small", pa.decimal128(9, 2)),
    pa.field("text", pa.utf8()), pa.field("large", pa.large_utf8()), pa.field("word", pa.dictionary(pa.int32(), pa.utf8())),
    pa.field("doc", pa.utf8(), metadata=JSON),
    pa.field("bytes", pa.binary()), pa.field("four", pa.binary(4)),
    pa.field("day", pa.date32()),
    pa.field("clock", pa.time64("us")),
    pa.field("at", pa.timestamp("us", "UTC")), pa.field("zoned", pa.timestamp("ms", "+02:00")),
    pa.field("seconds", pa.timestamp("s", "UTC")), pa.field("local", pa.timestamp("us")), pa.field("nano", pa.timestamp("ns", "UTC")),
    pa.field("nested", pa.struct(NESTED)),
    pa.field("list", pa.list_(pa.int32())), pa.field("texts", pa.large_list(pa.utf8())), pa.field("pair", pa.list_(pa.int16(), 2)),
    pa.field("structs", pa.list_(pa.struct([("a", pa.int64()), ("b", pa.utf8())]))),
    pa.field("lists", pa.list_(pa.list_(pa.int64()))),
    pa.field("map", pa.map_(pa.utf8(), pa.utf8())), pa.field("map_of", pa.map_(pa.utf8(), pa.list_(pa.int64()))),
    pa.field("ünïcode&\"quotes\"'`", pa.int64()), pa.field("Select", pa.utf8()),
]
# More columns, and a struct with one more member.
EVOLVED = [
    pa.field("nested", pa.struct([*NESTED, ("late", pa.decimal128(20, 5))])) if f.name == "nested" else f for f in EARLY
] + [pa.field("more", pa.int32()), pa.field("words", pa.list_(pa.utf8()))]

NOT_IN_DELTA = ["clock"]

ODD = 'ü\U0001f600\n\r\t"\\\'`,;|\u2028 \ufeffe\u0301 \u202etxt %s {} $1 -- NULL'
# Times are microseconds since 1970, days are days. Years 1 and 9999, -4000 and 200000.
YEAR_1, YEAR_9999 = -62_135_596_800_000_000, 253_402_300_799_999_999
LONG_AGO, FAR = -188_395_027_200_000_000, 6_249_223_180_800_000_000
NAMED = 'ünïcode&"quotes"\'`'

SMALLEST = {
    "flag": False, "i8": -(2**7), "i16": -(2**15), "i32": -(2**31), "i64": -(2**63), "u8": 0, "u16": 0, "u32": 0, "u64": 0,
    "f16": -65504.0, "f32": -3.4028234663852886e38, "f64": -1.7976931348623157e308,
    "whole": Decimal(-(10**38 - 1)), "part_only": Decimal(-(10**38 - 1)).scaleb(-38), "both": Decimal(-(10**38 - 1)).scaleb(-10),
    "small": Decimal("-9999999.99"), "text": "", "large": "", "word": "", "doc": "null", "bytes": b"", "four": b"\0\0\0\0",
    "day": -719_162, "clock": 0, "at": YEAR_1, "zoned": YEAR_1, "seconds": YEAR_1, "local": YEAR_1, "nano": -9_223_372_036_854_775,
    "nested": {"n": -(2**63), "t": "", "d": Decimal(-(10**38 - 1)).scaleb(-10), "f": -5e-324, "b": b"", "at": YEAR_1,
               "inner": {"x": False, "list": []}, "late": Decimal("-0.00001")},
    "list": [], "texts": [], "pair": [-(2**15), 2**15 - 1], "structs": [], "lists": [], "map": {}, "map_of": {}, NAMED: 0, "Select": "",
    "part": "a b/c=d%", "p_day": -719_162, "p_int": -(2**63), "p_flag": False, "more": -(2**31), "words": [],
}
LARGEST = {
    "flag": True, "i8": 2**7 - 1, "i16": 2**15 - 1, "i32": 2**31 - 1, "i64": 2**63 - 1, "u8": 255, "u16": 2**16 - 1,
    "u32": 2**32 - 1, "u64": 2**64 - 1, "f16": 65504.0, "f32": 3.4028234663852886e38, "f64": 1.7976931348623157e308,
    "whole": Decimal(10**38 - 1), "part_only": Decimal(10**38 - 1).scaleb(-38), "both": Decimal(10**38 - 1).scaleb(-10),
    "small": Decimal("9999999.99"), "text": ODD, "large": ODD * 500, "word": ODD, "doc": json.dumps({"a": [1, None, ODD], "": {}}),
    "bytes": bytes(range(256)), "four": b"\xff\x00\xfe\x01", "day": 2_932_896, "clock": 86_399_999_999, "at": YEAR_9999,
    "zoned": YEAR_9999 - 999, "seconds": YEAR_9999 - 999_999, "local": YEAR_9999, "nano": 9_223_372_036_854_775,
    "nested": {"n": 2**63 - 1, "t": ODD, "d": Decimal(10**38 - 1).scaleb(-10), "f": 1.7976931348623157e308, "b": b"\x00\xff",
               "at": YEAR_9999, "inner": {"x": True, "list": [2**63 - 1, None, -(2**63)]}, "late": Decimal("123456789012345.54321")},
    "list": [-(2**31), None, 2**31 - 1], "texts": ["", None, ODD, "{}", "NULL"], "pair": [0, None],
    "structs": [{"a": 1, "b": ODD}, None, {"a": None, "b": None}], "lists": [[1], [], None, [None, 2]],
    "map": {"": "", ODD: ODD, "k": None}, "map_of": {"a": [1, None], "b": [], "c": None}, NAMED: 1, "Select": "from",
    "part": "ü", "p_day": 2_932_896, "p_int": 2**63 - 1, "p_flag": True, "more": 2**31 - 1, "words": ["", None, ODD],
}
NULLS = dict.fromkeys(LARGEST)
# Numbers that are none, the smallest steps from zero, the moment before 1970.
SPECIAL = {
    **LARGEST, "f16": float("nan"), "f32": float("nan"), "f64": float("nan"), "whole": Decimal(0), "part_only": Decimal(1).scaleb(-38),
    "both": Decimal(1).scaleb(-10), "small": Decimal("-0.01"), "text": " ", "doc": '{"n": 12345678901234567890.123456789, "e": 1e30}',
    "day": -1, "clock": 1, "at": -1, "zoned": -1_000, "seconds": -1_000_000, "local": -1, "nano": -1, "part": "null", "p_day": -1,
    "p_int": 0, "nested": {**LARGEST["nested"], "f": float("nan"), "at": -1, "inner": None, "late": None}, "more": 0,
}
INFINITE = {
    **SMALLEST, "f16": float("inf"), "f32": float("-inf"), "f64": float("inf"), "day": 1, "at": 1, "zoned": 1_000, "seconds": 1_000_000,
    "local": 1, "nano": 1, "part": "..", "p_day": 0, "p_int": -1, "text": "NULL", "doc": '"\\u00fc"',
    "nested": {**SMALLEST["nested"], "f": float("-inf"), "t": None, "inner": {"x": None, "list": None}, "late": None},
}
DISTANT = {
    **LARGEST, "f16": -0.0, "f32": -0.0, "f64": -0.0, "day": -2_180_497, "at": FAR, "zoned": FAR, "seconds": LONG_AGO, "local": LONG_AGO,
    "part": "x" * 80, "p_day": 2_932_000, "p_int": 1, "text": "x" * 100_000, "doc": "[]", "nested": None,
}
ROWS = [SMALLEST, LARGEST, NULLS, SPECIAL, INFINITE, DISTANT]


def build(fields, without):
    """Makes a table of rows by their id."""
    fields = [f for f in fields if f.name not in without]

    def make(rows):
        columns = [array(f.type, [id if f.name == "id" else row[f.name] for id, row in rows.items()]) for f in fields]
        return pa.Table.from_arrays(columns, schema=pa.schema(fields))

    return make


def array(kind, values):
    if pa.types.is_timestamp(kind):
        unit = {"s": lambda v: v // 1_000_000, "ms": lambda v: v // 1_000, "us": lambda v: v, "ns": lambda v: v * 1_000}[kind.unit]
        return pa.array([None if v is None else unit(v) for v in values], pa.int64()).cast(kind)
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).cast(kind)
    if pa.types.is_time64(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_struct(kind):
        members = [array(f.type, [None if v is None else v[f.name] for v in values]) for f in kind]
        return pa.StructArray.from_arrays(members, fields=list(kind), mask=pa.array([v is None for v in values]))
    if pa.types.is_map(kind):
        return pa.array([None if v is None else list(v.items()) for v in values], kind)
    if pa.types.is_float16(kind):
        import numpy

        return pa.array([None if v is None else numpy.float16(v) for v in values], kind)
    return pa.array(values, kind)


def expected(row, id, fields, without):
    """The plain values of a row, of all columns that there are in the end."""
    here = {f.name: f for f in fields if f.name not in without}
    found = {}
    for field in EVOLVED:
        if field.name in without:
            continue
        value = id if field.name == "id" else row[field.name] if field.name in here else None
        if field.name == "nested" and field.type != here["nested"].type and value is not None:
            value = {**value, "late": None}
        found[field.name] = plain(value, field)
    return found


def rows_of(table):
    """The plain values of an Arrow table that a reader gave."""
    table = pa.table(table)
    columns = {}
    for field in EVOLVED:
        if field.name in table.column_names:
            columns[field.name] = [plain(v, field) for v in listed(table[field.name], field)]
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def listed(column, field):
    """Times and days as numbers: Python has none that are far away."""
    if pa.types.is_timestamp(field.type):
        zone = getattr(column.type, "tz", None)
        column = column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    elif pa.types.is_date32(field.type):
        column = column.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_time64(field.type):
        column = column.cast(pa.time64("us"), safe=False).cast(pa.int64())
    return column.to_pylist()


def plain(value, field):
    """A value in one form, whichever reader gave it."""
    if value is None:
        return None
    kind = field.type if isinstance(field, pa.Field) else field
    is_ = pa.types
    # ClickHouse does not tell text from bytes.
    if isinstance(value, bytes) and not (is_.is_binary(kind) or is_.is_fixed_size_binary(kind)):
        value = value.decode()
    if isinstance(field, pa.Field) and field.metadata and b"ARROW:extension:name" in field.metadata:
        value = json.loads(value, parse_float=Decimal) if isinstance(value, str) else value
        return "json null" if value is None else value
    if is_.is_boolean(kind):
        return value if isinstance(value, bool) else {"true": True, "false": False}[value]
    if is_.is_integer(kind):
        return int(value)
    if is_.is_float64(kind) or is_.is_float32(kind) or is_.is_float16(kind):
        value = float(value)
        if value != value:
            return "nan"
        # As many bits as the type has: a text that others made of it may have fewer digits.
        return repr(value) if is_.is_float64(kind) else struct.pack("<f", value)
    if is_.is_decimal(kind):
        return Decimal(value)
    if is_.is_binary(kind) or is_.is_fixed_size_binary(kind):
        return bytes.fromhex(value.removeprefix("\\x")) if isinstance(value, str) else bytes(value)
    if is_.is_timestamp(kind):
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
        if isinstance(value, dt.datetime):
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH
            value = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
        return value
    if is_.is_struct(kind):
        return {f.name: plain(value.get(f.name), f) for f in kind}
    if is_.is_map(kind):
        if isinstance(value, dict) and set(value) == {"key", "value"} and isinstance(value["key"], list):
            value = dict(zip(value["key"], value["value"]))
        pairs = value.items() if isinstance(value, dict) else [(v["key"], v["value"]) if isinstance(v, dict) else v for v in value]
        return {plain(k, kind.key_type): plain(v, kind.item_type) for k, v in pairs}
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind):
        return [plain(v, kind.value_field) for v in value]
    return value
