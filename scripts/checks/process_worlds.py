"""Where the process suites begin: each sink with each checkpoint store, empty or with what an earlier run has loaded, as often as wanted."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import kill_loop
from harness import CORRUPT, demo_api, fetch
from targets import Damaged, IntoDelta, IntoFile, IntoParquet, IntoPostgres, IntoPostgresByAdbc, IntoPostgresTables, IntoTables

# Records of the first run, and of what is to be loaded after it: a few epochs.
BEFORE, AFTER = 500, 900

# What is broken in one place or another.
KINDS = (
    "parquet", "delta", "tables", "postgres", "postgres-tables", "adbc-postgres", "duckdb", "sqlite", "parquet,postgres", "delta,postgres", "parquet,s3", "delta,s3",
    "tables,s3",
)  # fmt: skip

# Figures that must be 0.
WRONG = ("lost", "doubled", "partial", "wrong", "corrupt", "believed", "failed")

# The code of a process that took too long, as `timeout` gives it.
LATE = 124

# Those that speak to PostgreSQL alone.
IN_POSTGRES = {"postgres": IntoPostgres, "postgres-tables": IntoPostgresTables, "adbc-postgres": IntoPostgresByAdbc}


class Worlds:
    """Makes worlds of each kind on the servers that are given; `parquet,postgres` has its checkpoints in PostgreSQL."""

    def __init__(self, server, store, kinds):
        self.server, self.store, self.numbers, self.lock = server, store, itertools.count(), threading.Lock()
        self.kinds = [k for k in kinds if store or "s3" not in k]

    @contextlib.contextmanager
    def opened(self):
        """With an API that serves the same from now on, and an earlier run of each kind on a part of it."""
        with tempfile.TemporaryDirectory(prefix="landfall-begun-") as begun, demo_api("--records", BEFORE, "--port", 0) as api:
            self.begun, self.api = Path(begun), api
            for kind in self.kinds:
                if "s3" not in kind:
                    database = self.database(f"begun_{kind}") if "postgres" in kind else None
                    kill_loop.finish(self.target(kind, self.begun / kind, database), "first")
            fetch(f"{api}/grow?n={AFTER}", "POST")
            self.truth = kill_loop.Truth(api)
            yield self

    def database(self, name, like=None):
        """A database of its own, which may begin as a copy of another."""
        import psycopg

        name, like = (text and re.sub(r"\W", "_", text) for text in (name, like))
        # One copy at a time: a database is copied only while nobody is connected to it.
        with self.lock, psycopg.connect(self.server.url(), autocommit=True) as connection:
            self.server.new_database(name, like)
            # Nobody waits long for one that stands still.
            connection.execute(f"ALTER DATABASE \"{name}\" SET idle_in_transaction_session_timeout = '2s'")
        return name

    def drop(self, name):
        import psycopg

        with self.lock, psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def target(self, kind, folder, database=None, store=None, options=()):
        folder.mkdir(parents=True, exist_ok=True)
        sink, _, where = kind.partition(",")
        if sink in ("duckdb", "sqlite"):
            target = IntoFile(sink, folder, options=options)
        elif sink in IN_POSTGRES:
            target = IN_POSTGRES[sink](self.server, folder, database=database, options=options)
        else:
            env = {}
            if where == "postgres":
                options, env = ["--checkpoints-in-database", *options], {"WAREHOUSE_URL": self.server.url(database=database)}
            if store:
                env = store.env
            target = {"parquet": IntoParquet, "delta": IntoDelta, "tables": IntoTables}[sink](folder, store, options=options, env=env)
        return target.serve(self.api)

    def processes(self, kind):
        """Those of the server that a kind speaks to."""
        first = self.store.pid if "s3" in kind else self.server.process.pid
        return [first, *children(first)]

    @contextlib.contextmanager
    def world(self, kind, begun=True, options=()):
        """A target of its own, for as long as the block lasts."""
        number = next(self.numbers)
        database, store = None, None
        with tempfile.TemporaryDirectory(prefix="landfall-world-") as folder:
            folder = Path(folder) / "place"
            if "s3" in kind:
                store = self.store.below(f"world-{number}")
            else:
                if begun:
                    shutil.copytree(self.begun / kind, folder)
                if "postgres" in kind:
                    database = self.database(f"world_{number}", f"begun_{kind}" if begun else None)
            try:
                target = self.target(kind, folder, database, store, options)
                if store and begun:
                    kill_loop.finish(target, "first")
                yield target
            finally:
                if database:
                    self.drop(database)


def ended(proc, patience=120, hopeless=lambda: False):
    """(exit code, what it said); one that takes too long, or is hopeless, is killed: its code is `LATE`, and it has said so."""
    end = time.monotonic() + patience
    try:
        while True:
            try:
                _, said = proc.communicate(timeout=1)
                return proc.returncode, said
            except subprocess.TimeoutExpired:
                if time.monotonic() > end or hopeless():
                    os.killpg(proc.pid, signal.SIGKILL)
                    _, said = proc.communicate()
                    return LATE, f"{said}\n(killed: it took too long)"
    finally:
        if proc.poll() is None:
            os.killpg(proc.pid, signal.SIGKILL)


class Found(Counter):
    """What a case finds: figures, and a line for each that is bad."""

    def __init__(self, of):
        super().__init__()
        self.of = of

    def bad(self, figure, said, by=1):
        self[figure] += by
        print(f"{figure}: {self.of}: {said.strip()}", flush=True)

    def ended_badly(self, code, said, which=""):
        self.bad("corrupt" if code == CORRUPT else "failed", f"{which} ended with {code}: {said}".lstrip())

    def compare(self, truth, target, when):
        for figure, n in kill_loop.compare(truth, target).items():
            if n:
                self.bad(figure, f"{n} {when}", n)

    def twice(self, truth, target):
        """What is there before the next run has come to its end. Who was killed may leave a file that nobody can read: the next run says so."""
        try:
            ids = target.ids()
        except Damaged as damage:
            if not self["kills"]:
                raise
            print(f"met: {self.of}: {damage}", flush=True)
            self["met"] += 1
            return
        if len(ids) != len(set(ids)) or set(ids) - truth.right.keys():
            self.bad("doubled", f"{len(ids)} rows, {len(set(ids))} ids, before the next run")
        if parts := target.partial():
            self.bad("partial", f"of {parts} loads, before the next run", parts)

    def next_run(self, truth, target, proc):
        """Comes to its end, and then everything is there. One that finds a damaged file says so, and then what was landed is loaded again."""
        code, said = ended(proc)
        if self["met"]:
            if not kill_loop.tells_of_damage(code, said):
                self.bad("failed", f"the next run meets damage and ends with {code}: {said}")
            target.begin_again()
            code, said = ended(target.start())
        if code:
            self.ended_badly(code, said, "the next run")
        else:
            self.compare(truth, target, "after the next run")


def seldom(figures):
    """The figures of a suite: a kill seldom leaves a file that nobody can read. Where more than that do, something else does it."""
    if figures["met"] > 1 + figures["kills"] // 500:
        print(f"failed: {figures['met']} damaged files after {figures['kills']} kills", flush=True)
        figures["failed"] += figures["met"]
    return figures


def met(figures):
    """What a line says of damaged files: nothing, if there was none."""
    return ("met",) * bool(figures["met"])


def tried(case, *args):
    """What a case gives; one that does not come to its end has failed, and the others go on."""
    try:
        return case(*args)
    except Exception:
        print(f"failed: {args[1:]}: {traceback.format_exc()}", flush=True)
        return Counter(failed=1)


def children(pid):
    """The processes that a process has started."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
