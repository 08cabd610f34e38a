"""What the checks share: private servers on the loopback interface, runs of `ingest`, readers of what it left."""

import contextlib
import glob
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

TARGET = Path(os.environ["CARGO_TARGET_DIR"]) / os.environ.get("LANDFALL_PROFILE", "debug") / "examples"
CACHE = Path(os.environ["LANDFALL_CACHE"])
MODULES = CACHE / "node" / "node_modules"

# The exit code of one from whom another has taken over.
FENCED = 7
# And of one that found damage.
CORRUPT = 8

# Servers are stopped and folders deleted at the end, also of one that is told to end.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Checks:
    """Counts what held and what did not."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def that(self, name, holds, detail=""):
        if holds:
            self.passed += 1
            print(f"ok      {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {name}: {detail}", flush=True)

    def done(self):
        print(f"real-system checks: {self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def server(command, url, patience=60, **options):
    """Runs a server until the block ends; it is up when `url` answers, be it with an error."""
    log = tempfile.TemporaryFile()
    options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **options}
    proc = subprocess.Popen(command, start_new_session=True, **options)
    try:
        end = time.monotonic() + patience
        while True:
            if proc.poll() is not None or time.monotonic() > end:
                log.seek(0)
                sys.exit(f"{command[0]} did not start: {log.read().decode(errors='replace')[-2000:]}")
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except urllib.error.HTTPError as e:
                if e.code < 500:
                    break
            except OSError:
                pass
            time.sleep(0.05)
        yield proc
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(proc.pid, signal.SIGKILL)
        proc.wait()


@contextlib.contextmanager
def demo_api(*flags):
    """The demo API as a process of its own; gives its base URL."""
    command = [str(TARGET / "demo-api"), *map(str, flags)]
    proc = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        yield proc.stdout.readline().strip()
    finally:
        proc.kill()
        proc.wait()


def fetch(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as r:
        return r.read()


def send(method, url, body=None, headers=None):
    """Sends JSON; an answer that is not 2xx is an error."""
    headers = {"content-type": "application/json", **(headers or {})}
    body = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=120) as r:
        return r.read()


def start_ingest(spec, env=None):
    command = [str(TARGET / "ingest"), str(spec), "--json"]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def ingest(spec, env=None, limit=300):
    """Runs `ingest` to its end: (exit code, report or None, what it said)."""
    proc = start_ingest(spec, env)
    try:
        out, err = proc.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        proc.kill()
        out, err = proc.communicate()
        err += "\n(killed: it took too long)"
    report = json.loads(out) if proc.returncode == 0 else None
    return proc.returncode, report, err


def detected(url):
    """What `ingest detect` prints for [source] and what is below it."""
    found = subprocess.run([str(TARGET / "ingest"), "detect", url], capture_output=True, text=True, timeout=60)
    return found.stdout.partition("[source]\n")[2].partition("[dedup]")[0] or found.stderr


def data_files(dataset):
    """The files that a reader who lists the folder takes: no name on the way begins with `_` or `.`."""
    found = glob.glob(f"{dataset}/**/*.parquet", recursive=True)
    return sorted(f for f in found if not any(p.startswith(("_", ".")) for p in Path(f).relative_to(dataset).parts))


def rows_by_duckdb(dataset, columns, order):
    import duckdb

    names = ", ".join(f'"{c}"' for c in columns)
    files = data_files(dataset)
    if not files:
        return []
    query = f"SELECT {names} FROM read_parquet({files!r}, union_by_name=true, hive_partitioning=false) ORDER BY {order}"
    return duckdb.connect().execute(query).fetchall()


def rows_by_polars(dataset, columns, order):
    import polars

    files = data_files(dataset)
    if not files:
        return []
    frames = [polars.read_parquet(f, hive_partitioning=False) for f in files]
    return polars.concat(frames, how="diagonal").sort(order).select(columns).rows()


def quarantined(folder):
    """Every published quarantine record."""
    found = []
    for name in sorted(glob.glob(f"{folder}/*.ndjson")):
        with open(name, encoding="utf-8") as f:
            found += [json.loads(line) for line in f]
    return found
