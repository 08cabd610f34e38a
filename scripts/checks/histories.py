"""Random histories of epochs under every disposition, into Delta, PostgreSQL, DuckDB and SQLite alike, compared with a model of what each must leave. Keys are
of many types, rows come twice, late, deleted, with nulls; the same seed makes the same histories."""

import datetime as dt
import json
import random
import sqlite3
import tempfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from torture import crate
from torture_values import EPOCH, UTC, plain

DAY = dt.datetime(2026, 3, 1, tzinfo=UTC)
# Of which some are near to each other, or alike to those who compare loosely.
KEYS = {
    "text": (pa.utf8(), ["", " ", "a", "A", "a ", "ä", "a\u0308", "\U0001f600", "NULL"]),
    "whole": (pa.int64(), [-(2**63), -1, 0, 1, 10, 2**53, 2**53 + 1, 2**63 - 1]),
    "float": (pa.float64(), [float("-inf"), -1.5, -0.0, 0.0, 5e-324, 1.0, float("inf"), float("nan")]),
    "decimal": (pa.decimal128(38, 10), [Decimal(d) for d in ("-1", "0", "0.0000000001", "1", "1.5", "9999999999999999999999999999.9999999999")]),
    "time": (pa.timestamp("us", "UTC"), [EPOCH, EPOCH - dt.timedelta(microseconds=1), DAY, DAY + dt.timedelta(microseconds=1)]),
    "day": (pa.date32(), [dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(1970, 1, 1), dt.date(9999, 12, 31)]),
    "bytes": (pa.binary(), [b"", b"\x00", b"\x00\x00", b"\xff"]),
    "flag": (pa.bool_(), [False, True]),
}
VALUES = {"at": pa.timestamp("us", "UTC"), "gone": pa.bool_(), "v": pa.int64(), "t": pa.utf8(), "p": pa.utf8()}
FROM, TO = "_landfall_valid_from", "_landfall_valid_to"


class History:
    """Epochs of rows, and what they leave in a table."""

    def __init__(self, seed):
        rng = self.random = random.Random(seed)
        self.kind = rng.choice(list(KEYS))
        self.type, self.choices = KEYS[self.kind]
        self.key = rng.choice([["k"], ["k", "v2"]])
        self.newest, self.deleted = rng.choice([None, "at"]), rng.choice([None, "gone"])
        self.columns = {"k": self.type, "v2": pa.int32(), **VALUES}
        self.by_partition = rng.random() < 0.4
        self.epochs = [[self.row() for _ in range(rng.choice([1, 3, 12, 40]))] for _ in range(rng.randint(2, 6))]

    def row(self):
        rng = self.random
        some = lambda value, part=0.1: None if rng.random() < part else value
        return {
            "k": some(rng.choice(self.choices), 0.03), "v2": some(rng.randint(0, 1), 0.02),
            "at": some(DAY + dt.timedelta(seconds=rng.randint(0, 8))), "gone": some(rng.random() < 0.2),
            "v": some(rng.randint(0, 3)), "t": some(rng.choice(["x", "", "y"])), "p": some(rng.choice(["a", "b c"])),
        }

    def of(self, row):
        """Its key, in which equal values are the same; None if a part of it is null."""
        parts = [plain(row[c], self.columns[c]) for c in self.key]
        if None in parts:
            return None
        return tuple("0.0" if part == "-0.0" else part for part in parts)

    def is_gone(self, row):
        return bool(self.deleted and row[self.deleted])

    def newer_or_same(self, row, than):
        oldest = dt.datetime.min.replace(tzinfo=UTC)
        return not self.newest or (row[self.newest] or oldest) >= (than[self.newest] or oldest)

    def winners(self, rows):
        found = {}
        for row in rows:
            key = self.of(row)
            if key is not None and (key not in found or self.newer_or_same(row, found[key])):
                found[key] = row
        return found

    def upsert(self, table, rows):
        for key, row in self.winners(rows).items():
            if key in table and not self.newer_or_same(row, table[key]):
                continue
            table.pop(key, None)
            if not self.is_gone(row):
                table[key] = row


def append(history):
    return "append", [row for rows in history.epochs for row in rows]


def upsert(history):
    table = {}
    for rows in history.epochs:
        history.upsert(table, rows)
    return {"upsert": {"key": history.key, "newest": history.newest, "deleted": history.deleted}}, table.values()


def swept(history):
    table = {}
    for rows in history.epochs:
        history.upsert(table, rows)
        seen = {history.of(row) for row in rows}
        table = {key: row for key, row in table.items() if key in seen}
    return {"upsert": {"key": history.key, "newest": history.newest, "deleted": history.deleted, "sweep": 1.0}}, table.values()


def insert_only(history):
    table = {}
    for row in (row for rows in history.epochs for row in rows):
        if (key := history.of(row)) is not None:
            table.setdefault(key, row)
    return {"insert_only": {"key": history.key}}, table.values()


def replace(history):
    return {"replace": {"key": [], "newest": None, "may_shrink_by": 1.0}}, history.epochs[-1]


def replace_by_key(history):
    disposition = {"replace": {"key": history.key, "newest": history.newest, "may_shrink_by": 1.0}}
    return disposition, history.winners(history.epochs[-1]).values()


def replace_partitions(history):
    table = []
    for rows in history.epochs:
        came = {row["p"] for row in rows}
        table = [row for row in table if row["p"] not in came] + rows
    history.by_partition = True
    return {"replace_partitions": {"by": ["p"], "key": [], "newest": None}}, table


def scd2(history):
    """A version holds from `at` on. What makes one is everything but the key and `at`."""
    versions = {}
    content = lambda row: tuple(row[c] for c in history.columns if c not in history.key and c != "at")
    for rows in history.epochs:
        incoming = {}
        for row in rows:
            if (key := history.of(row)) is not None and row["at"] is not None:
                incoming.setdefault(key, {})[row["at"]] = row
        for key, by_time in incoming.items():
            held = versions.setdefault(key, [])
            floor = max((v[TO] or v[FROM] for v in held), default=None)
            current = next((v for v in held if v[TO] is None), None)
            before, changes = current and content(current), []
            for at, row in sorted(by_time.items()):
                if floor is not None and at < floor:
                    continue
                now = None if history.is_gone(row) else content(row)
                if now != before:
                    changes.append((at, row))
                before = now
            if changes and current:
                if current[FROM] >= changes[0][0]:
                    held.remove(current)
                else:
                    current[TO] = changes[0][0]
            for (at, row), following in zip(changes, [*changes[1:], (None, None)]):
                if not history.is_gone(row):
                    held.append({**row, FROM: at, TO: following[0]})
    disposition = {"scd2": {"key": history.key, "since": "at", "deleted": history.deleted, "valid_from": FROM, "valid_to": TO}}
    return disposition, [v for held in versions.values() for v in held]


def children(history):
    """Rows of a record come together and take the place of those that their parent had; one without an index says that there are none."""
    table, rng = {}, history.random
    for number, parents in enumerate(history.epochs):
        groups = [[{**row, "_record": n, "_index": i, "v": i} for i in range(rng.randint(0, 3))] or [{**row, "_record": n, "_index": None}]
                  for n, row in enumerate(parents)]
        history.epochs[number] = [row for group in groups for row in group]
        winners = {}
        for group in groups:
            key = history.of(group[0])
            if key is not None and (key not in winners or history.newer_or_same(group[0], winners[key][0])):
                winners[key] = group
        for key, group in winners.items():
            if any(not history.newer_or_same(group[0], held) for held in table.get(key, [])):
                continue
            table[key] = [row for row in group if row["_index"] is not None and not history.is_gone(row)]
    history.columns = {**history.columns, "_index": pa.int64()}
    disposition = {"children": {"parent": history.key, "newest": history.newest, "deleted": history.deleted, "index": "_index"}}
    return disposition, [row for held in table.values() for row in held]


DISPOSITIONS = [append, upsert, swept, insert_only, replace, replace_by_key, replace_partitions, scd2, children]


def compare_all(comparison, server, number, seed):
    """So many histories of each disposition."""
    with tempfile.TemporaryDirectory(prefix="landfall-histories-") as folder:
        for model in DISPOSITIONS:
            before = comparison.different
            for n in range(number):
                one(comparison, server, Path(folder, f"{model.__name__}-{n}"), model, seed + n)
            word = "ok     " if comparison.different == before else "FAILED "
            others = "" if model in (scd2, children) else ", duckdb and sqlite"
            print(f"{word} {number} histories, {model.__name__}: delta and postgres{others}", flush=True)


def one(comparison, server, folder, model, seed):
    history = History(seed)
    disposition, rows = model(history)
    folder.mkdir()
    files = []
    for number, epoch in enumerate(history.epochs):
        files.append(folder / f"{number}.parquet")
        given = {**history.columns, **({"_record": pa.uint32()} if model is children else {})}
        pq.write_table(pa.Table.from_pylist(epoch, pa.schema(given)), files[-1])
    columns = {**history.columns, **({FROM: VALUES["at"], TO: VALUES["at"]} if model is scd2 else {})}
    want = sorted((flat(row, columns) for row in rows), key=repr)
    what = f"{model.__name__}, seed {seed}, by {history.kind}"
    options = ["--disposition", json.dumps(disposition)]
    delta = options + (["--partition-by", "p"] if history.by_partition else [])
    table = f"histories.{folder.name.replace('-', '_')}"
    targets = [
        (f"delta:{folder / 'table'}", delta, {}, lambda: by_deltalake(folder / "table")),
        (f"postgres:{table}", options, {"WAREHOUSE_URL": server.url()}, lambda: by_psycopg(server, table, columns)),
    ]
    # ADBC refuses those two.
    if model not in (scd2, children):
        targets.append((f"duckdb:{folder / 'duckdb'}", options, {}, lambda: by_duckdb(folder / "duckdb", columns)))
        # It has no NaN, and keeps decimals as text, which are equal only if they have the same digits.
        if history.kind != "float":
            targets.append((f"sqlite:{folder / 'sqlite'}", options, {}, lambda: by_sqlite(folder / "sqlite", columns)))
    for sink, options, env, read in targets:
        name = f"{sink.split(':')[0]}, {what}"
        try:
            crate("write", sink, *options, *files, env=env, quiet=True)
            have = sorted((flat(row, columns) for row in read()), key=repr)
            wrong = [f"missing {row}" for row in difference(want, have)] + [f"too much {row}" for row in difference(have, want)]
        except Exception as error:
            wrong = [f"{type(error).__name__}: {str(error)[:500]}"]
        comparison.add(name, len(want), wrong, quiet=True)


def difference(of, without):
    rest = list(without)
    return [row for row in of if not (row in rest and (rest.remove(row) or True))]


def flat(row, columns):
    """In a row that was changed in its place, a zero may keep the sign that it had."""
    values = (plain(row.get(c), kind) for c, kind in columns.items())
    return tuple("0.0" if value == "-0.0" else value for value in values)


def quoted(columns):
    """`at` is a word of its own in DuckDB."""
    return ", ".join(f'"{c}"' for c in columns)


def by_deltalake(path):
    import deltalake

    return deltalake.DeltaTable(str(path)).to_pyarrow_table().to_pylist()


def by_psycopg(server, table, columns):
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(server.url(), row_factory=dict_row) as connection:
        return connection.execute(f"SELECT {quoted(columns)} FROM {table}").fetchall()


def quoted(columns):
    return ", ".join(f'"{c}"' for c in columns)


def by_duckdb(path, columns):
    import duckdb

    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.sql(f"SELECT {quoted(columns)} FROM orders").to_arrow_table().to_pylist()


def by_sqlite(path, columns):
    """Without types: a bool is a number, and what is a time or a decimal is its text."""

    def typed(value, kind):
        if value is None:
            return None
        if pa.types.is_boolean(kind):
            return {0: False, 1: True}[value]
        return dt.date.fromisoformat(value) if pa.types.is_date32(kind) else value

    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        rows = connection.execute(f"SELECT {quoted(columns)} FROM orders").fetchall()
    return [{c: typed(v, columns[c]) for c, v in zip(columns, row)} for row in rows]
