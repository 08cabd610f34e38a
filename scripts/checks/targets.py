"""What a process of `warehouses` loads the demo API into, and how a reader of others finds what is there."""

import datetime as dt
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

from harness import FENCED, TARGET, data_files, quarantined, rows_by_duckdb
from postgres_server import LosesAnswers
from table_sets import apart

UPSERT = ["--disposition", '{"upsert": {"key": ["id"], "newest": "updated_at"}}']

# What keeps a Delta table up, and what that says if there was nothing to do.
UPKEEP = ("compact", "checkpoint")
IDLE = ("Compacted { files_before: 0,", "None")

# Commits in a hundred whose answer is lost.
LOST_ANSWERS = 0.1


class Damaged(Exception):
    """A database cannot read its own file."""


class Loaded:
    """What a process loads into a sink; its landing and whatever else it keeps is in `state`: a folder, or a store."""

    # Trying again may help: what a database or a store was killed under may say so.
    forgiven = (4,)
    # What a run may say while another one goes on: that it has taken over.
    outrun = (FENCED,)
    restart = None
    # Damages the file of the database as the database itself does where it is killed in the wrong moment, if there is one that does.
    damage = None
    api = kind = None

    def __init__(self, sink, folder, store=None, env=None, options=()):
        self.sink, self.folder, self.store, self.env = sink, Path(folder), store, {**os.environ, "RUST_BACKTRACE": "0", **(env or {})}
        self.options = ["--state", f"{store.uri}/state" if store else str(self.folder / "state"), *options]
        self.restart = store and store.restart
        # Where the folder is seen from here: a process may have mounted something there that only it sees.
        self.seen = self.folder

    def serve(self, api):
        self.api = api
        return self

    def command(self, *more):
        return [str(TARGET / "warehouses"), "load", self.sink, "--api", self.api, *self.options, *map(str, more)]

    def start(self, before=(), more=(), **popen):
        """Loads, in a process of its own; `before` it may come a command that runs it, and `more` options after it."""
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # A group of its own: whoever ends it, ends what runs it too.
        quiet["start_new_session"] = True
        return subprocess.Popen([*map(str, before), *self.command(*more)], env=self.env, **{**quiet, **popen})

    def do(self, what, *more):
        """Another command on the same sink, to its end."""
        return subprocess.run([str(TARGET / "warehouses"), what, self.sink, *more], env=self.env, capture_output=True, text=True)

    def again(self, folder):
        """Loads what was landed once more, into files in `folder`."""
        sink = f"parquet:{Path(folder) / 'orders'}"
        command = [str(TARGET / "warehouses"), "again", sink, *self.options]
        ran = subprocess.run(command, env=self.env, capture_output=True, text=True)
        landed = IntoParquet(folder)
        return landed if ran.returncode == 0 else None, ran.stderr

    def look(self):
        """A folder with what it holds."""
        if self.store is None and self.seen == self.folder:
            return self.folder
        copy = self.folder.with_name("copy")
        if self.store is not None:
            self.store.copy_to(copy)
        else:
            # Some readers find the way out of the place where only it is seen.
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.seen, copy)
        return copy

    def quarantined(self):
        return quarantined(self.look() / "state" / "quarantine")

    def ids(self):
        return [row[0] for row in self.rows(["id"])]

    def notes(self):
        """The rows of the table of notes, as (id, note); `None` where there is no such table."""

    def partial(self):
        """Of how many loads a reader sees a part; `None` if it cannot tell loads apart."""

    def end(self):
        """Figures of its own, when all is over."""
        return {}


# Loads of which not as many rows are there as the ledger says: in one statement, so that nothing comes between.
IN_PART = """SELECT load FROM (
    SELECT _landfall_load AS load, count(*) AS n FROM {table} GROUP BY 1
    UNION ALL SELECT load_id, -rows_inserted FROM landfall_loads WHERE table_name LIKE '%{table}%'
) AS both_sides GROUP BY load HAVING sum(n) <> 0"""


class IntoPostgres(Loaded):
    """With checkpoints in the database. With a `seed` through a proxy that loses answers to `COMMIT`."""

    sink_is = "postgres:public.orders"
    tables = ("orders",)

    def __init__(self, server, folder, seed=None, database="postgres", options=()):
        self.server, self.database = server, database
        self.proxy = None if seed is None else LosesAnswers(server.port, LOST_ANSWERS, seed)
        url = server.url(self.proxy and self.proxy.port, database)
        super().__init__(self.sink_is, folder, env={"WAREHOUSE_URL": url}, options=options)
        self.restart = server.restart

    def ask(self, query):
        """Nothing, as long as there are no tables."""
        import psycopg

        with psycopg.connect(self.server.url(database=self.database), options="-c TimeZone=UTC") as connection:
            there = all(connection.execute("SELECT to_regclass(%s)", [f"public.{name}"]).fetchone()[0] for name in self.tables)
            return connection.execute(query).fetchall() if there else []

    def rows(self, columns):
        return self.ask(f"SELECT {names(columns)} FROM public.orders ORDER BY id")

    def partial(self):
        return sum(len(self.ask(IN_PART.format(table=table))) for table in self.tables)

    def files(self):
        return 0

    def end(self):
        if self.proxy is None:
            return {}
        self.proxy.close()
        return {"commits_cut": self.proxy.cuts}


class IntoPostgresTables(IntoPostgres):
    """Orders, and the notes of them in another table, which change in one transaction."""

    sink_is = "postgres-tables:public"
    tables = ("orders", "notes")

    def notes(self):
        return self.ask("SELECT id, note FROM notes")

    def partial(self):
        apart = """SELECT id, note FROM (SELECT id, note, 1 AS n FROM orders UNION ALL SELECT id, note, -1 FROM notes) AS both_sides
            GROUP BY id, note HAVING sum(n) <> 0"""
        return super().partial() + len(self.ask(apart))


class IntoPostgresByAdbc(IntoPostgres):
    """Through its ADBC driver, with checkpoints in the folder."""

    sink_is = "adbc-postgres:public.orders"

    def disconnect(self):
        """Ends its connections, at the server."""
        import psycopg

        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.database])

    def rows(self, columns):
        return [tuple(map(typed, columns, row)) for row in super().rows(columns)]


class IntoDelta(Loaded):
    """Read by the Python package `deltalake`."""

    # The sink, and its tables, in the folder or the store.
    sink_is, table_is = "delta:{}/orders", "{}/{}"

    def __init__(self, folder, store=None, options=(), env=None):
        super().__init__(self.sink_is.format(store.uri if store else folder), folder, store, options=options, env=env)

    def table(self, name="orders"):
        """`None` as long as there is none."""
        import deltalake
        import deltalake.exceptions

        place = self.table_is.format(self.store.uri if self.store else self.look(), name)
        try:
            return deltalake.DeltaTable(place, storage_options=dict(self.store.env) if self.store else None)
        except deltalake.exceptions.TableNotFoundError:
            return None

    def rows(self, columns, name="orders"):
        table = self.table(name)
        rows = [] if table is None else table.to_pyarrow_table(columns=columns).to_pylist()
        return sorted((tuple(row[c] for c in columns) for row in rows), key=lambda row: row[0])

    def loads(self, columns, name="orders"):
        """Of each load that a table has committed, how many rows are there, with a sum of these columns; and of how many loads these are a part. Rows
        name their load, and the commit of a load how many there are."""
        import duckdb

        table = self.table(name)
        if table is None:
            return {}, 0
        committed = {info["landfall"]["load_id"]: info["landfall"]["rows_inserted"] for info in table.history() if "landfall" in info}
        # That of the module is shared between threads, and refuses all but one of them.
        with duckdb.connect() as connection:
            rows = connection.from_arrow(table.to_pyarrow_table(columns=["_landfall_load", *columns]))
            found = rows.aggregate(f"_landfall_load, count(*), sum(hash({', '.join(columns) or 0}))").fetchall()
        seen = dict.fromkeys(committed, (0, None)) | {load: (number, of_columns) for load, number, of_columns in found}
        return seen, sum(number != committed.get(load) for load, (number, _) in seen.items())

    def partial(self):
        """Of loads that are replaced, fewer rows are left."""
        return None if "--disposition" in self.options else self.loads([])[1]

    def files(self):
        return len(self.table().file_uris())


class IntoDeltaKeptUp(IntoDelta):
    """Beside the load another process compacts the table and writes checkpoints; it is killed too."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.upkeep, self.turns = None, itertools.cycle([*UPKEEP, None])
        self.kept_up = Counter(dict.fromkeys((*UPKEEP, "failed"), 0))

    def start(self, *args, **options):
        if what := next(self.turns):
            self.end()
            command = [str(TARGET / "warehouses"), what, self.sink]
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            self.upkeep = what, subprocess.Popen(command, **quiet)
        return super().start(*args, **options)

    def end(self):
        """If it is not done yet, it never will be. Gives how often each has done something, and failed."""
        if self.upkeep:
            what, proc = self.upkeep
            over = proc.poll() is not None
            proc.kill()
            did, said = proc.communicate()
            if over and proc.returncode == 0:
                self.kept_up[what] += not did.startswith(IDLE)
            elif over and proc.returncode not in self.forgiven:
                print(f"failed: {what} ended with {proc.returncode}: {said.strip()}", flush=True)
                self.kept_up["failed"] += 1
            self.upkeep = None
        return self.kept_up


class IntoTables(IntoDelta):
    """A set of two Delta tables, the notes of orders and then the orders, of which each commits by itself."""

    sink_is, table_is, kind = "tables:{}/tables", "{}/tables/{}", "tables"

    def notes(self):
        return self.rows(["id", "note"], "notes")

    def partial(self):
        """No load is in part in one of the tables; and in one of them alone only the newest may be."""
        (orders, part_of_orders), (notes, part_of_notes) = (self.loads(["id", "note"], name) for name in ("orders", "notes"))
        return part_of_orders + part_of_notes + len(apart(notes, orders))


class IntoParquet(Loaded):
    """Read by DuckDB."""

    def __init__(self, folder, store=None, options=(), env=None):
        place = f"{store.uri}/orders" if store else str(Path(folder, "orders"))
        super().__init__(f"parquet:{place}", folder, store, options=options, env=env)

    def rows(self, columns):
        return rows_by_duckdb(str(self.look() / "orders"), columns, "id")

    def files(self):
        return len(data_files(str(self.look() / "orders")))


class IntoFile(Loaded):
    """A database that is a file, spoken to by its ADBC driver, and read by a client of its own. In both an object is its JSON; SQLite
    keeps times and decimals as text."""

    def __init__(self, kind, folder, options=()):
        self.kind, self.name = kind, f"orders.{kind}"
        if kind == "duckdb":
            # One process at a time may have it open.
            self.outrun, self.damage = (FENCED, *self.forgiven), self._damage
        super().__init__(f"{kind}:{Path(folder, self.name)}", folder, options=options)

    def rows(self, columns):
        return [tuple(map(typed, columns, row)) for row in self.ask(f"SELECT {names(columns)} FROM orders ORDER BY id")]

    def partial(self):
        return len(self.ask(IN_PART.format(table="orders")))

    def ask(self, query):
        """Nothing, as long as there is no table."""
        # A reader would bring to its end what a killed process left half done: that is for the next process.
        with tempfile.TemporaryDirectory(prefix="landfall-copy-") as folder:
            for file in self.seen.glob(f"{self.name}*"):
                shutil.copy(file, folder)
            path = Path(folder, self.name)
            if not path.exists():
                return []
            return self._by_sqlite(path, query) if self.kind == "sqlite" else self._by_duckdb(path, query)

    def _by_sqlite(self, path, query):
        connection = sqlite3.connect(path)
        try:
            there = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'orders'").fetchone()[0]
            return connection.execute(query).fetchall() if there else []
        finally:
            connection.close()

    def _by_duckdb(self, path, query):
        import duckdb

        try:
            with duckdb.connect(str(path), read_only=True) as connection:
                there = connection.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = 'orders'").fetchone()[0]
                return connection.execute(query).fetchall() if there else []
        except duckdb.Error as error:
            if "Corrupt database file" in str(error):
                raise Damaged(error) from error
            raise

    def _damage(self):
        """The first block, behind three headers of 4 KiB, is that which each checkpoint writes over itself: here its checksum is another one."""
        with open(self.folder / self.name, "r+b") as file:
            file.seek(3 * 4096)
            first = file.read(1)
            file.seek(3 * 4096)
            file.write(bytes([first[0] ^ 1]))

    def begin_again(self):
        """Another file and other checkpoints take the place of those: what was landed is loaded again, as docs/operations.md says. What was refused is
        refused again, and would lie beside what is there."""
        for file in (self.folder / self.name, *self.folder.glob(f"{self.name}*.wal")):
            file.unlink()
        for place in ("checkpoints", "quarantine"):
            shutil.rmtree(self.folder / "state" / place, ignore_errors=True)

    def files(self):
        return 1


def typed(column, value):
    if column == "amount":
        return Decimal(value)
    if column == "customer" and isinstance(value, str):
        return json.loads(value)
    if column == "updated_at" and isinstance(value, str):
        return dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    return value


def names(columns):
    return ", ".join(f'"{c}"' for c in columns)
