"""Kills a process that loads the demo API into a warehouse, and the database or the store under it, and looks with readers of others at
what is there after each kill. The table is appended to: a record that was loaded twice would be there twice. Files in a folder are for
`kill_loop.py`."""

import tempfile
from collections import Counter

import kill_loop
import stores_servers
from targets import UPSERT, IntoDelta, IntoDeltaKeptUp, IntoFile, IntoParquet, IntoPostgres, IntoPostgresByAdbc, IntoPostgresTables, IntoTables

# So many of a set of tables on a server: nobody puts their files together, and a reader takes each of them after each kill.
FEW = 20


def kills(number, seed, server, kind):
    """Each sink on each place, one after the other; gives what is to be added to the figures, and their names."""
    names = []
    sums = dict.fromkeys(("kills", "server_kills", "rivals", "ended", "commits_cut", *kill_loop.WRONG), 0)

    def one(name, make, number=number):
        with tempfile.TemporaryDirectory(prefix="landfall-kill-") as folder, kill_loop.api_to_load() as api:
            target = make(folder).serve(api)
            figures = Counter(kill_loop.loop(number, seed, api, target))
            figures.update(target.end())
        kill_loop.proof("kills", name, figures)
        names.append(name)
        for figure in sums:
            sums[figure] += figures.get(figure, 0)

    for name, target in (("postgres", IntoPostgres), ("postgres-tables", IntoPostgresTables), ("adbc-postgres", IntoPostgresByAdbc)):
        one(name, lambda folder: target(server, folder, seed, server.new_database(f"kills_{name}")))
    for name, target in (("parquet", IntoParquet), ("delta", IntoDelta)):
        one(f"{name},postgres", lambda folder: with_checkpoints_in(server, server.new_database(f"kills_{name}"), target, folder))
    one("delta,local", IntoDeltaKeptUp)
    one("delta,local,upsert", lambda folder: IntoDeltaKeptUp(folder, options=UPSERT))
    one("tables,local", IntoTables)
    one("duckdb", lambda folder: IntoFile("duckdb", folder))
    one("sqlite", lambda folder: IntoFile("sqlite", folder))
    for name, target in (("delta", IntoDeltaKeptUp), ("parquet", IntoParquet)):
        with tempfile.TemporaryDirectory(prefix="landfall-store-") as place, stores_servers.opened(kind, place) as store:
            with stores_servers.environment(store.env):
                one(f"{name},{kind}", lambda folder: target(folder, store))
    with tempfile.TemporaryDirectory(prefix="landfall-store-") as place, stores_servers.opened(kind, place) as store:
        with stores_servers.environment(store.env):
            one(f"tables,{kind}", lambda folder: IntoTables(folder, store), min(number, FEW))
    return sums, names


def with_checkpoints_in(server, database, target, folder):
    """Files in a folder, whose checkpoints lie in a database: its server is killed too."""
    made = target(folder, options=["--checkpoints-in-database"], env={"WAREHOUSE_URL": server.url(database=database)})
    made.restart = server.restart
    return made
