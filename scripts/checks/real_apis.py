"""Loads real data from real servers with `ingest`, twice and with a kill in between, and compares what DuckDB and Polars
read with the input. Then asks for errors: each must be clear, with an exit code, and lose nothing."""

import contextlib
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from harness import (
    CACHE,
    Checks,
    data_files,
    demo_api,
    fetch,
    free_port,
    ingest,
    rows_by_duckdb,
    rows_by_polars,
    server,
    start_ingest,
)

MODULES = CACHE / "node" / "node_modules"


FLIGHTS = {"id": "int64", "date": "utf8", "delay": "int64", "distance": "int64", "origin": "utf8", "destination": "utf8"}
MOVIES = {
    "id": "int64",
    "Title": "utf8(text)",  # strings, numbers and nulls: a number is kept as its text
    "US Gross": "int64",
    "Worldwide Gross": "int64",
    "US DVD Sales": "int64",
    "Production Budget": "int64",
    "Release Date": "utf8",
    "MPAA Rating": "utf8",
    "Running Time min": "int64",
    "Distributor": "utf8",
    "Source": "utf8",
    "Major Genre": "utf8",
    "Creative Type": "utf8",
    "Director": "utf8",
    "Rotten Tomatoes Rating": "int64",
    "IMDB Rating": "float64",
    "IMDB Votes": "int64",
}


def data_folder():
    """The data sets: from LANDFALL_DATA, from beside the repository, or the same files from npm."""
    for folder in [os.environ.get("LANDFALL_DATA"), "../shared/data", MODULES / "vega-datasets" / "data"]:
        if folder and Path(folder, "flights-20k.json").exists():
            return Path(folder)
    sys.exit("the data sets are not there")


def load(name):
    with open(data_folder() / name, encoding="utf-8") as f:
        return [{"id": n, **record} for n, record in enumerate(json.load(f), 1)]


def expected(records, columns):
    """What must be read back: the values as they came, titles as text."""
    rows = []
    for record in records:
        row = [record[c] for c in columns]
        for i, kind in enumerate(columns.values()):
            if kind == "utf8(text)" and row[i] is not None and not isinstance(row[i], str):
                row[i] = json.dumps(row[i])
            if kind == "float64" and row[i] is not None:
                row[i] = float(row[i])
        rows.append(tuple(row))
    return rows


def write_spec(folder, name, source, schema, extra=""):
    if schema != "infer":
        schema = ", ".join(f"{json.dumps(c)}: {t}" for c, t in schema.items())
    spec = Path(folder, f"{name}.toml")
    spec.write_text(
        f'name = "{name}"\nstate = "{folder}/{name}-state"\nschema = \'{schema}\'\n\n'
        f"[source]\n{source}\n\n[dedup]\nkey = [\"id\"]\n\n[sink]\nparquet = \"{folder}/{name}\"\n\n{extra}"
    )
    return spec


@contextlib.contextmanager
def datasette(folder, tables):
    path = Path(folder, "real.db")
    db = sqlite3.connect(path)
    for table, records in tables.items():
        columns = list(records[0])
        # No types: SQLite then keeps each value as it is, so titles stay strings, numbers or nulls.
        names = ", ".join(f'"{c}"' for c in columns[1:])
        db.execute(f'CREATE TABLE {table} (id INTEGER PRIMARY KEY, {names})')
        marks = ", ".join("?" * len(columns))
        db.executemany(f"INSERT INTO {table} VALUES ({marks})", [tuple(r[c] for c in columns) for r in records])
    db.commit()
    db.close()
    port = free_port()
    command = [sys.executable, "-m", "datasette", "serve", str(path), "-h", "127.0.0.1", "-p", str(port)]
    command += ["--setting", "max_returned_rows", "1000"]
    with server(command, f"http://127.0.0.1:{port}/-/versions.json"):
        yield f"http://127.0.0.1:{port}/real"


@contextlib.contextmanager
def json_server(folder, tables):
    path = Path(folder, "db.json")
    path.write_text(json.dumps(tables))
    port = free_port()
    command = ["node", str(MODULES / ".bin" / "json-server"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--quiet", str(path)]
    with server(command, f"http://127.0.0.1:{port}/flights?_limit=1"):
        yield f"http://127.0.0.1:{port}"


def same_rows(checks, name, folder, records, columns):
    want = expected(records, columns)
    for reader, read in [("DuckDB", rows_by_duckdb), ("Polars", rows_by_polars)]:
        got = read(f"{folder}/{name}", list(columns), "id")
        differ = next(((w, g) for w, g in zip(want, got) if w != g), None)
        checks.that(
            f"{name}: {reader} reads {len(want)} rows, equal to the input one by one",
            len(got) == len(want) and differ is None,
            f"{len(got)} rows; first difference: {differ}",
        )


def loads_once(checks, folder, name, source, schema, records, columns):
    """A load, the same again, and one that is killed half way and started again."""
    spec = write_spec(folder, name, source, schema)
    began = time.monotonic()
    code, report, said = ingest(spec)
    took = time.monotonic() - began
    checks.that(f"{name}: loads", code == 0, said)
    if code:
        return
    same_rows(checks, name, folder, records, columns)
    code, report, said = ingest(spec)
    again = report["ledger"]["staged"] if report else None
    checks.that(f"{name}: the second run adds nothing", code == 0 and again == 0, f"{again} rows; {said}")
    same_rows(checks, name, folder, records, columns)

    killed = f"{name}-killed"
    spec = write_spec(folder, killed, source, schema)
    kills = 0
    # Early at first: once a run has come to its end, the next ones have nothing to be killed in.
    for part in [0.1, 0.2, 0.4, 0.6]:
        proc = start_ingest(spec)
        time.sleep(random.uniform(part, 1.5 * part) * took)
        kills += proc.poll() is None
        proc.kill()
        proc.communicate()
    code, _, said = ingest(spec)
    checks.that(f"{killed}: loads after {kills} kills", code == 0 and kills > 0, said)
    same_rows(checks, killed, folder, records, columns)


def real_servers(checks, folder):
    flights, movies = load("flights-20k.json"), load("movies.json")
    tables = {"flights": flights, "movies": movies}
    checks.that("the data are 20,000 flights and 3,201 movies", (len(flights), len(movies)) == (20_000, 3_201))
    with datasette(folder, tables) as base:
        by_token = (
            'query = {{ _shape = "objects", _size = "{size}" }}\nurl = "{base}/{table}.json"\n'
            'records = "$.rows[*]"\npaginate = {{ by = "cursor", at = "$.next", query = "_next" }}'
        )
        source = by_token.format(size=1000, base=base, table="flights")
        loads_once(checks, folder, "datasette-flights", source, FLIGHTS, flights, FLIGHTS)
        source = by_token.format(size=100, base=base, table="movies")
        loads_once(checks, folder, "datasette-movies", source, MOVIES, movies, MOVIES)
    with json_server(folder, tables) as base:
        source = f'url = "{base}/flights"\nquery = {{ _page = "1", _limit = "1000" }}\npaginate = {{ by = "link" }}'
        loads_once(checks, folder, "json-server-flights", source, "infer", flights, FLIGHTS)
        source = (
            f'url = "{base}/movies"\nquery = {{ _limit = "200" }}\n'
            'paginate = { by = "page", query = "_page" }'
        )
        loads_once(checks, folder, "json-server-movies", source, MOVIES, movies, MOVIES)


ORDERS = {"id": "utf8", "number": "int64", "status": "utf8", "quantity": "int64", "amount": "decimal(12,2)"}
PAGED = 'url = "{api}/orders"\nrecords = "{records}"\npaginate = {{ by = "cursor", at = "$.next_cursor", query = "cursor" }}\n'


def refuses(checks, name, spec, code, words, env=None):
    """The run must end with `code` and say `words`; and never what is secret."""
    got, _, said = ingest(spec, env)
    missing = [w for w in words if w.lower() not in said.lower()]
    checks.that(f"{name}: a clear error, exit code {code}", got == code and not missing, f"code {got}, said: {said}")
    checks.that(f"{name}: no secret is shown", "s3cr3t" not in said, said)


def errors(checks, folder):
    with demo_api("--records", 1500, "--bad", 0, "--token", "right") as api:
        source = PAGED.format(api=api, records="$.data[*]") + 'auth = { by = "bearer", env = "TOKEN" }'
        spec = write_spec(folder, "token", source, ORDERS)
        refuses(checks, "a wrong token", spec, 3, ["401", "token"], {"TOKEN": "s3cr3t"})
        refuses(checks, "a token that is not set", spec, 2, ["TOKEN"])
        code, report, said = ingest(spec, {"TOKEN": "right"})
        checks.that("the right token loads", code == 0 and report["ledger"]["read"] == 1500, said)
        unread = sum(1 for r in fetch(f"{api}/truth/orders").splitlines() if r) - len(
            rows_by_duckdb(f"{folder}/token", ["id"], "id")
        )
        checks.that("nothing was lost by the refusals", unread == 0, f"{unread} missing")
    with demo_api("--records", 1500) as api:
        spec = write_spec(folder, "path", PAGED.format(api=api, records="$.rows[*]"), ORDERS)
        refuses(checks, "a wrong records path", spec, 5, ["$.rows"])
        spec = write_spec(folder, "url", PAGED.format(api=f"{api}/nothing", records="$.data[*]"), ORDERS)
        refuses(checks, "a wrong URL path", spec, 2, ["404"])
        spec = write_spec(folder, "field", PAGED.format(api=api, records="$.data[*]") + "colour = 1", ORDERS)
        refuses(checks, "an unknown field in the spec", spec, 2, ["colour"])
        spec = write_spec(folder, "next", PAGED.format(api=api, records="$.data[*]").replace("$.next_cursor", "$.next"), ORDERS)
        refuses(checks, "a wrong path of the cursor", spec, 5, ["$.next", "next_cursor"])
        spec = write_spec(folder, "repeats", PAGED.format(api=api, records="$.data[*]"), ORDERS)
        spec.write_text(spec.read_text().replace('[dedup]\nkey = ["id"]', ""))
        refuses(checks, "a spec without a key", spec, 2, ["dedup", "append"])
        since = 'since = { field = "changed_at", query = "since" }'
        spec = write_spec(folder, "since", PAGED.format(api=api, records="$.data[*]") + since, ORDERS)
        refuses(checks, "the latest by a field that is no column", spec, 2, ["changed_at", "keep"])
        spec = write_spec(folder, "place", PAGED.format(api=api, records="$.data[*]"), ORDERS)
        spec.write_text(spec.read_text().replace(f'"{folder}/place', f'"file://{folder}/a%20place/of mine'))
        code, _, said = ingest(spec)
        inside = Path(folder, "a place", "of mine")
        checks.that("a folder with a space is the place itself", code == 0 and inside.is_dir(), said)
        around = [folder, inside.parent]
        checks.that("nothing is written around it", not any(Path(f, ".landfall-tmp").exists() for f in around))
    with demo_api("--records", 1500, "--throttle-every", 2, "--retry-after", 7200) as api:
        spec = write_spec(folder, "limited", PAGED.format(api=api, records="$.data[*]"), ORDERS)
        refuses(checks, "an API that asks to come in two hours", spec, 4, ["rate limited"])
    source = PAGED.format(api=f"http://127.0.0.1:{free_port()}", records="$.data[*]")
    refuses(checks, "an unreachable host", write_spec(folder, "host", source, ORDERS), 4, ["connect"])
    store_without_conditions(checks, folder)
    stopped(checks, folder)
    second_instance(checks, folder)


def store_without_conditions(checks, folder):
    """s3rver answers 200 to `If-None-Match: *` on an object that is there."""
    port = free_port()
    command = ["node", str(MODULES / ".bin" / "s3rver"), "-d", f"{folder}/s3", "-a", "127.0.0.1", "-p", str(port)]
    command += ["--configure-bucket", "lake"]
    with demo_api("--records", 500) as api, server(command, f"http://127.0.0.1:{port}/lake"):
        spec = write_spec(folder, "ignores", PAGED.format(api=api, records="$.data[*]"), ORDERS)
        spec.write_text(spec.read_text().replace(f'state = "{folder}/ignores-state"', 'state = "s3://lake/state"'))
        keys = {
            "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "S3RVER",
            "AWS_SECRET_ACCESS_KEY": "S3RVER",
            "AWS_REGION": "us-east-1",
        }
        refuses(checks, "a store that ignores conditions", spec, 2, ["condition"], keys)
        checks.that("a refused store: nothing was asked of the API", json.loads(fetch(f"{api}/stats"))["requests"] == 0)


def stopped(checks, folder):
    """A supervisor's SIGTERM: what has come is committed, and the next run goes on."""
    with demo_api("--records", 30_000, "--bad", 0) as api:
        source = PAGED.format(api=api, records="$.data[*]") + 'query = { limit = "50" }'
        spec = write_spec(folder, "stopped", source, ORDERS, "[run]\nepoch_records = 2000\n")
        proc = start_ingest(spec)
        while not data_files(f"{folder}/stopped") and proc.poll() is None:
            time.sleep(0.02)
        proc.terminate()
        _, said = proc.communicate(timeout=60)
        checks.that("SIGTERM stops gracefully, exit code 130", proc.returncode == 130, f"{proc.returncode}: {said}")
        code, report, said = ingest(spec)
        rest = report["ledger"]["read"] if report else None
        checks.that("the next run goes on", code == 0 and 0 < rest < 30_000, f"{rest} read; {said}")


def second_instance(checks, folder):
    """Two at the same time: one takes over, the other stops; then a third run finds nothing lost."""
    with demo_api("--records", 30_000, "--bad", 0) as api:
        source = PAGED.format(api=api, records="$.data[*]") + 'query = { limit = "50" }'
        spec = write_spec(folder, "twice", source, ORDERS, "[run]\nepoch_records = 2000\n")
        first = start_ingest(spec)
        while not data_files(f"{folder}/twice") and first.poll() is None:
            time.sleep(0.02)
        running = first.poll() is None
        code, _, said = ingest(spec)
        _, first_said = first.communicate()
        checks.that("a second instance: it takes over and finishes", running and code == 0, said)
        checks.that(
            "a second instance: the first stops, exit code 7, and says why",
            first.returncode == 7 and "owner" in first_said.lower(),
            f"code {first.returncode}, said: {first_said}",
        )
        right = {json.loads(r)["id"] for r in fetch(f"{api}/truth/orders").splitlines()}
        ids = [row[0] for row in rows_by_duckdb(f"{folder}/twice", ["id"], "id")]
        checks.that("a second instance: nothing lost, nothing doubled", len(ids) == len(right) and set(ids) == right)


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="landfall-real-") as folder:
        if "errors" not in sys.argv[1:]:
            real_servers(checks, folder)
        if "servers" not in sys.argv[1:]:
            errors(checks, folder)
    return checks.done()


sys.exit(main())
