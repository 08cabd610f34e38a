"""A table with every type that a sink can hold and with extreme values, written through each sink, and compared value by value with what
readers of others find in it, in old versions too. What is right is known here alone: the crate is given the rows as a file."""

import os
import subprocess
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torture_readers as readers
from harness import TARGET
from torture_values import EARLY, EVOLVED, NOT_IN_DELTA, ROWS, build, expected


UPSERT = ["--disposition", '{"upsert": {"key": ["id"]}}']


class Comparison:
    """Counts tables, and what is different in them."""

    def __init__(self):
        self.compared, self.different, self.absent = 0, 0, Counter()

    def table(self, name, reader, want, read):
        """Compares what `read` gives with `want`: rows by their id."""
        try:
            have, wrong = read(), []
        except readers.Absent as absent:
            self.absent[f"{reader}: {absent}"] += 1
            return
        except Exception as error:  # A reader that cannot read it is a finding like any other.
            have, wrong = None, [f"{type(error).__name__}: {str(error)[:300]}"]
        if have is not None:
            ids = sorted((row["id"] for row in have), key=str)
            if ids != sorted(want, key=str):
                wrong.append(f"ids {ids} instead of {sorted(want, key=str)}")
            for row in have:
                for column, value in want.get(row["id"], {}).items():
                    if row.get(column) != value and column not in readers.NOT_ASKED.get(reader, ()):
                        wrong.append(f"row {row['id']}, {column}: {short(row.get(column))} instead of {short(value)}")
        self.add(f"{name}, {reader}", len(want), wrong)

    def add(self, name, rows, wrong, quiet=False):
        self.compared += 1
        self.different += len(wrong)
        if wrong or not quiet:
            print(f"{'FAILED ' if wrong else 'ok     '} {name}: {rows} rows", flush=True)
        for line in wrong[:20]:
            print(f"        {line}", flush=True)


def short(value):
    return repr(value)[:100]


def crate(*arguments, env=None, quiet=False):
    """Runs a command of the crate; gives what it prints."""
    command = [str(TARGET / "warehouses"), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ran.stderr.strip()}")
    if ran.stderr and not quiet:
        # Rows that the sink has refused: they will be missed.
        print(ran.stderr.strip(), flush=True)
    return ran.stdout


def compare_all(comparison, server, store):
    """Every sink."""
    with tempfile.TemporaryDirectory(prefix="landfall-torture-") as folder:
        folder = Path(folder)
        for place, env in ((str(folder / "lake"), {}), (f"{store.uri}/lake", store.env)):
            for partition_by in ([], ["part", "p_day", "p_int", "p_flag"]):
                delta(comparison, folder, f"{place}/{len(partition_by)}", partition_by, env)
        for partition_by in ([], ["part", "p_day", "p_int", "p_flag"]):
            parquet(comparison, folder, folder / f"dataset-{len(partition_by)}", partition_by)
        postgres(comparison, folder, server)
    for absent, times in comparison.absent.items():
        print(f"skipped {absent} ({times} tables)")
    print("skipped Spark's own reader of Delta: its classes come from Maven, not from a registry that is reached here")


def steps(folder, without):
    """The files of the steps, and the rows of the table after each: appended, appended with more columns, upserted, inserted."""
    first, second = build(EARLY, without), build(EVOLVED, without)
    given = [
        (first, [0, 1, 2, 3, 4, 5], []),
        (second, [10, 11, 12, 13, 14], []),
        # Rows of both, and a new one.
        (second, [1, 3, 11, 20], UPSERT),
        # Two that are there, and a new one.
        (second, [0, 20, 30], ["--disposition", '{"insert_only": {"key": ["id"]}}']),
    ]
    table, made = {}, []
    for number, (make, ids, options) in enumerate(given):
        rows = {id: ROWS[(id + number) % len(ROWS)] for id in ids}
        path = Path(folder, f"step-{number}-{len(without)}.parquet")
        pq.write_table(make(rows), path)
        for id, row in rows.items():
            if id not in table or options is UPSERT:
                table[id] = expected(row, id, EARLY if number == 0 else EVOLVED, without)
        made.append((path, options, dict(table)))
    return made


def delta(comparison, folder, place, partition_by, env):
    name = f"delta {'on S3 ' if env else ''}{'partitioned ' if partition_by else ''}"
    sink = [f"delta:{place}", *(["--partition-by", ",".join(partition_by)] if partition_by else [])]
    versions = []
    for number, (path, options, rows) in enumerate(steps(folder, NOT_IN_DELTA)):
        crate("write", *sink, *options, path, env=env)
        versions.append(rows)
        if number == 1:
            # Readers must find the versions before a checkpoint, and those after it.
            crate("checkpoint", *sink, env=env)
    for reader, read in readers.DELTA.items():
        comparison.table(f"{name}upserted", reader, versions[-1], partial(read, place, None, env))
    comparison.add(f"{name}upserted, each value looked for", len(versions[-1]), list(readers.by_value(place, env, versions[-1])))
    crate("compact", *sink, env=env)
    crate("checkpoint", *sink, env=env)
    for reader, read in readers.DELTA.items():
        comparison.table(f"{name}compacted", reader, versions[-1], partial(read, place, None, env))
        for version, rows in enumerate(versions):
            comparison.table(f"{name}version {version}", reader, rows, partial(read, place, version, env))


def parquet(comparison, folder, place, partition_by):
    sink = [f"parquet:{place}", *(["--partition-by", ",".join(partition_by)] if partition_by else [])]
    for path, _, rows in steps(folder, [])[:2]:
        crate("write", *sink, path)
    for reader, read in readers.PARQUET.items():
        comparison.table(f"parquet {'partitioned' if partition_by else ''}", reader, rows, partial(read, place))


def postgres(comparison, folder, server):
    env = {"WAREHOUSE_URL": server.url()}
    made = steps(folder, [])
    for path, _, rows in made[:2]:
        crate("write", "postgres:torture.appended", path, env=env)
    for reader, read in readers.POSTGRES.items():
        comparison.table("postgres appended", reader, rows, partial(read, server, "torture.appended"))
    for path, options, rows in made:
        # The table is made with its key.
        crate("write", "postgres:torture.upserted", *(options or UPSERT), path, env=env)
    for reader, read in readers.POSTGRES.items():
        comparison.table("postgres upserted", reader, rows, partial(read, server, "torture.upserted"))
