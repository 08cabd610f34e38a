"""Kills a process that loads the demo API into a warehouse, and the database or the store under it, and looks with readers of others at
what is there after each kill. The table is appended to: a record that was loaded twice would be there twice."""

import itertools
import os
import subprocess
import tempfile
from pathlib import Path

import kill_loop
import stores_servers
from harness import TARGET, data_files, quarantined, rows_by_duckdb
from postgres_server import LosesAnswers

UPSERT = ["--disposition", '{"upsert": {"key": ["id"], "newest": "updated_at"}}']

# Commits in a hundred whose answer is lost.
LOST_ANSWERS = 0.1


class Loaded:
    """What a process loads into a sink; its landing and whatever else it keeps is in `state`: a folder, or a store."""

    # Trying again may help: what a database or a store was killed under may say so.
    forgiven = (4,)
    restart = None

    def __init__(self, sink, folder, store=None, env=None):
        self.folder, self.store, self.env = Path(folder), store, {**os.environ, **(env or {})}
        state = f"{store.uri}/state" if store else str(self.folder / "state")
        self.command = [str(TARGET / "warehouses"), "load", sink, "--state", state]
        self.restart = store and store.restart

    def serve(self, api):
        self.command += ["--api", api]
        return self

    def start(self):
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(self.command, env=self.env, **quiet)

    def look(self):
        if self.store is None:
            return self.folder
        self.store.copy_to(self.folder / "copy")
        return self.folder / "copy"

    def quarantined(self):
        return quarantined(self.look() / "state" / "quarantine")

    def ids(self):
        return [row[0] for row in self.rows(["id"])]

    def end(self):
        """Figures of its own, when all is over."""
        return {}


class IntoPostgres(Loaded):
    """Through a proxy that loses answers to `COMMIT`, with checkpoints in the database. It is killed at times."""

    def __init__(self, server, folder, seed):
        self.server, self.proxy = server, LosesAnswers(server.port, LOST_ANSWERS, seed)
        super().__init__("postgres:public.orders", folder, env={"WAREHOUSE_URL": server.url(self.proxy.port)})
        self.restart = server.restart

    def rows(self, columns):
        import psycopg

        names = ", ".join(f'"{c}"' for c in columns)
        with psycopg.connect(self.server.url(), options="-c TimeZone=UTC") as connection:
            if connection.execute("SELECT to_regclass('public.orders')").fetchone()[0] is None:
                return []
            return connection.execute(f"SELECT {names} FROM public.orders ORDER BY id").fetchall()

    def files(self):
        return 0

    def end(self):
        self.proxy.close()
        return {"commits_cut": self.proxy.cuts}


class IntoDelta(Loaded):
    """Read by the Python package `deltalake`. Beside the load another process compacts the table and writes checkpoints; it is killed too."""

    def __init__(self, folder, store=None, options=()):
        self.uri = f"{store.uri}/orders" if store else str(Path(folder, "orders"))
        super().__init__(f"delta:{self.uri}", folder, store)
        self.command += options
        self.upkeep, self.turns = None, itertools.cycle(["compact", "checkpoint", None])

    def start(self):
        if what := next(self.turns):
            self.end()
            command = [str(TARGET / "warehouses"), what, f"delta:{self.uri}"]
            self.upkeep = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return super().start()

    def end(self):
        """If it is not done yet, it never will be."""
        if self.upkeep:
            self.upkeep.kill()
            self.upkeep.wait()
        return {}

    def table(self):
        import deltalake

        options = {k: v for k, v in (self.store.env if self.store else {}).items()}
        return deltalake.DeltaTable(self.uri, storage_options=options or None)

    def rows(self, columns):
        rows = self.table().to_pyarrow_table(columns=columns).to_pylist()
        return sorted((tuple(row[c] for c in columns) for row in rows), key=lambda row: row[0])

    def files(self):
        return len(self.table().file_uris())


class IntoParquet(Loaded):
    """Read by DuckDB."""

    def __init__(self, folder, store=None):
        place = f"{store.uri}/orders" if store else str(Path(folder, "orders"))
        super().__init__(f"parquet:{place}", folder, store)

    def rows(self, columns):
        return rows_by_duckdb(str(self.look() / "orders"), columns, "id")

    def files(self):
        return len(data_files(str(self.look() / "orders")))


def kills(number, seed, server, kind):
    """Each sink on each place, one after the other; gives what is to be added to the figures."""
    sums = dict.fromkeys(("kills", "server_kills", "rivals", "ended", "commits_cut", "failed", "wrong", "lost", "doubled"), 0)

    def one(name, make):
        with tempfile.TemporaryDirectory(prefix="landfall-kill-") as folder, kill_loop.api_to_load() as api:
            target = make(folder).serve(api)
            figures = kill_loop.loop(number, seed, api, target)
            figures |= target.end()
        print(f"{name}: " + " ".join(f"{k}={v}" for k, v in figures.items()), flush=True)
        for figure in sums:
            sums[figure] += figures.get(figure, 0)

    one("postgres", lambda folder: IntoPostgres(server, folder, seed))
    one("delta, local files", IntoDelta)
    one("delta, local files, upsert", lambda folder: IntoDelta(folder, options=UPSERT))
    for name, target in (("delta", IntoDelta), ("parquet", IntoParquet)):
        with tempfile.TemporaryDirectory(prefix="landfall-store-") as place, stores_servers.opened(kind, place) as store:
            with stores_servers.environment(store.env):
                one(f"{name}, {kind}", lambda folder: target(folder, store))
    return sums
