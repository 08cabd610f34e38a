"""bench_warehouses.py [ROWS] [TABLE_ROWS]: what this crate needs for the same rows, against others. Its own time is from the first row,
prepared in memory, to the end of the commit; that of others is the time of the whole command."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from harness import TARGET
from postgres_server import postgres
from torture import UPSERT, crate

COLUMNS = "id bigint, number bigint, status text, amount numeric(12,2), price double precision, note text, updated_at timestamptz"
NAMES = "id, number, status, amount, price, note, updated_at"
# Rows that a Delta epoch has while the table is built.
EPOCH = 1_000_000

# Another process, whose memory is its own: the whole of what the package does to merge.
MERGE = """
import resource, sys, time
import deltalake, pyarrow.parquet as pq
source = pq.read_table(sys.argv[2])
began = time.monotonic()
merge = deltalake.DeltaTable(sys.argv[1]).merge(source, "t.id = s.id", source_alias="s", target_alias="t")
merge.when_matched_update_all().when_not_matched_insert_all().execute()
print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main():
    given = list(map(int, sys.argv[1:]))
    rows, table_rows = given + [500_000, 2_000_000][len(given) :]
    print(f"{rows} rows; {table_rows} rows in the Delta table that is merged into; {TARGET.parent.name} build")
    print("ratio: the time, or the size, of landfall for 1 of the other's")
    print(f"{'':44} {'landfall':>12} {'other':>12} {'ratio':>7}")
    with tempfile.TemporaryDirectory(prefix="landfall-bench-") as folder:
        folder = Path(folder)
        path = write(folder / "rows.parquet", numpy.arange(rows))
        with postgres() as server:
            into_postgres(server, folder, path, rows)
        appended(folder, path, rows)
        merged(folder, table_rows)


def write(path, ids, changed=0):
    rng = numpy.random.default_rng(len(ids) + changed)
    word = lambda choices: pa.array(numpy.array(choices)[rng.integers(0, len(choices), len(ids))])
    cents = rng.integers(0, 10**9, len(ids))
    # 128 bits each, the lower half first.
    halves = numpy.stack([cents, numpy.zeros_like(cents)], axis=1)
    amounts = pa.Array.from_buffers(pa.decimal128(12, 2), len(ids), [None, pa.py_buffer(halves.tobytes())])
    table = pa.table({
        "id": pa.array(ids, pa.int64()),
        "number": pa.array(rng.integers(0, 2**62, len(ids))),
        "status": word(["placed", "paid", "shipped", "returned"]),
        "amount": amounts,
        "price": pa.array(rng.random(len(ids))),
        "note": pc.binary_join_element_wise("the order of", pa.array(cents).cast(pa.utf8()), " "),
        "updated_at": pa.array(1_700_000_000_000_000 + ids + changed, pa.int64()).cast(pa.timestamp("us", "UTC")),
    })
    pq.write_table(table, path)
    return path


def line(what, own, other, unit="s", count=None):
    """Times, and what they are per second; the ratio is that of times or sizes."""
    show = (lambda v: f"{count / v:,.0f}/s") if count else (lambda v: f"{v:,.1f} {unit}")
    print(f"{what:44} {show(own):>12} {show(other):>12} {own / other:>7.2f}", flush=True)


def own(*arguments, env=None):
    return json.loads(crate("write", *arguments, env=env))


def into_postgres(server, folder, path, rows):
    env = {"WAREHOUSE_URL": server.url()}

    def psql(*commands):
        began = time.monotonic()
        arguments = [str(server.programs / "psql"), server.url(), "-XqAt", "-v", "ON_ERROR_STOP=1"]
        arguments += [part for command in commands for part in ("-c", command)]
        ran = subprocess.run(arguments, capture_output=True, text=True)
        if ran.returncode:
            sys.exit(f"psql: {ran.stderr}")
        return time.monotonic() - began, ran.stdout.strip()

    taken = own("postgres:bench.appended", path, env=env)["seconds"]
    text, binary = folder / "rows.txt", folder / "rows.bin"
    psql(f"\\copy (SELECT {NAMES} FROM bench.appended) TO '{text}'", f"\\copy (SELECT {NAMES} FROM bench.appended) TO '{binary}' (FORMAT binary)")
    for name, file, options in (("text", text, ""), ("binary", binary, "(FORMAT binary)")):
        psql(f"CREATE TABLE bench.copied_{name} ({COLUMNS})", "CHECKPOINT")
        copied, _ = psql(f"\\copy bench.copied_{name} FROM '{file}' {options}")
        line(f"PostgreSQL, append: \\copy in {name}", taken, copied, count=rows)
    # A tenth of the rows, every second one of them new.
    part = rows // 10
    upserted = write(folder / "part.parquet", numpy.concatenate([numpy.arange(0, rows, 20), rows + numpy.arange(part - len(range(0, rows, 20)))]), 1)
    own("postgres:bench.upserted", *UPSERT, path, env=env)
    own("postgres:bench.part", upserted, env=env)
    binary = folder / "part.bin"
    sets = ", ".join(f"{c} = excluded.{c}" for c in NAMES.split(", ")[1:])
    psql(
        f"\\copy (SELECT {NAMES} FROM bench.part) TO '{binary}' (FORMAT binary)",
        f"CREATE TABLE bench.by_hand ({COLUMNS}, PRIMARY KEY (id))",
        f"INSERT INTO bench.by_hand SELECT {NAMES} FROM bench.appended",
        "CHECKPOINT",
    )
    taken = own("postgres:bench.upserted", *UPSERT, upserted, env=env)["seconds"]
    psql("CHECKPOINT")
    by_hand, _ = psql(
        f"CREATE TABLE bench.staged ({COLUMNS})",
        f"\\copy bench.staged FROM '{binary}' (FORMAT binary)",
        f"INSERT INTO bench.by_hand SELECT {NAMES} FROM bench.staged ON CONFLICT (id) DO UPDATE SET {sets}",
        "DROP TABLE bench.staged",
    )
    line("PostgreSQL, upsert of a tenth: ON CONFLICT", taken, by_hand, count=part)
    _, same = psql(f"SELECT count(*) FROM (SELECT {NAMES} FROM bench.by_hand EXCEPT SELECT {NAMES} FROM bench.upserted) d")
    if same != "0":
        sys.exit(f"the tables differ in {same} rows")


def appended(folder, path, rows):
    parquet = own(f"parquet:{folder / 'dataset'}", path)
    delta = own(f"delta:{folder / 'appended'}", path)
    line("Delta, append: the Parquet writer alone", delta["seconds"], parquet["seconds"], count=rows)


def merged(folder, table_rows):
    table = folder / "table"
    for first in range(0, table_rows, EPOCH):
        ids = numpy.arange(first, min(first + EPOCH, table_rows))
        own(f"delta:{table}", write(folder / "epoch.parquet", ids))
    part = max(1, table_rows // 100)
    spread = numpy.sort(numpy.random.default_rng(1).choice(table_rows, part, replace=False))
    recent = numpy.arange(table_rows - part // 2, table_rows - part // 2 + part)
    for name, ids in (("all over it", spread), ("at its end", recent)):
        source = write(folder / "source.parquet", ids, 1)
        for copy in ("own", "other"):
            shutil.copytree(table, folder / copy)
        taken = own(f"delta:{folder / 'own'}", *UPSERT, source)
        ran = subprocess.run([sys.executable, "-c", MERGE, folder / "other", source], capture_output=True, text=True)
        if ran.returncode:
            sys.exit(f"merge: {ran.stderr}")
        seconds, peak = map(float, ran.stdout.split())
        what = f"Delta, upsert of 1 % {name}: deltalake"
        line(what, taken["seconds"], seconds)
        line(f"{'':{len(what) - 9}} memory", taken["peak_mb"], peak, "MB")
        written = [size_of_last(folder / copy) / 1e6 for copy in ("own", "other")]
        line(f"{'':{len(what) - 9}} rewritten", *written, "MB")
        same(folder / "own", folder / "other", what)
        for copy in ("own", "other"):
            shutil.rmtree(folder / copy)


def size_of_last(table):
    """Bytes of the files that the newest version added."""
    newest = max((table / "_delta_log").glob("*.json"))
    actions = map(json.loads, newest.read_text().splitlines())
    return sum(a["add"]["size"] for a in actions if "add" in a)


def same(a, b, what):
    """Both hold the same rows."""
    import deltalake
    import duckdb

    files = [deltalake.DeltaTable(str(table)).file_uris() for table in (a, b)]
    one, two = (f"(SELECT {NAMES} FROM read_parquet({f!r}))" for f in files)
    query = f"SELECT (SELECT count(*) FROM {one}), (SELECT count(*) FROM {two}), (SELECT count(*) FROM ({one} EXCEPT ALL {two}))"
    left, right, different = duckdb.connect().execute(query).fetchone()
    if left != right or different:
        sys.exit(f"{what}: {left} and {right} rows, {different} are different")


if __name__ == "__main__":
    main()
