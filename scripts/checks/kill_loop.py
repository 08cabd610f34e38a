"""kill_loop.py N: kills `ingest` with SIGKILL at random moments, N times, while it loads one growing dataset from the
demo API. Afterwards, and after every kill, compares what it left with what the API served. Everything is kept in a folder, or with
`--store` in a store on a server of its own, which is killed too if it keeps what it has confirmed."""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

from harness import CORRUPT, FENCED, data_files, demo_api, fetch, quarantined, rows_by_duckdb, start_ingest
from targets import Damaged

SPEC = '''
name = "orders"
state = "{place}/state"
schema = """
    id: utf8, number: int64, status: utf8, quantity: int64, amount: decimal(12,2),
    customer: struct<id: utf8, country: utf8>, note: utf8, updated_at: timestamp
"""

[source]
url = "{api}/orders"
query = {{ limit = "40" }}
records = "$.data[*]"
paginate = {{ by = "cursor", at = "$.next_cursor", query = "cursor" }}
since = {{ field = "updated_at", query = "since", overlap = "10s" }}

[validate]
required = ["id", "quantity", "amount", "updated_at"]
range = {{ quantity = {{ min = 1 }} }}
one_of = {{ status = ["placed", "paid", "shipped", "returned"] }}

[dedup]
key = ["id"]

[sink]
parquet = "{place}/orders"

[quarantine]
to = "{place}/quarantine"

[run]
epoch_records = 400
'''

COLUMNS = ["id", "number", "status", "quantity", "amount", "customer", "note", "updated_at"]

# Figures that must be 0.
WRONG = ["failed", "wrong", "lost", "doubled", "partial"]


class Ingested:
    """What `ingest` loads as a spec says, into Parquet files in a folder or in a store."""

    # Exit codes of a run whose server died: it may end, if that is not known to have written something.
    forgiven = (4, 9)
    # And of a run while another one goes on.
    outrun = (FENCED,)
    damage = None

    def __init__(self, spec, folder, store):
        self.spec, self.folder, self.store = spec, folder, store
        self.restart = store and store.restart

    def start(self):
        return start_ingest(self.spec)

    def look(self):
        """Where files can be read: a copy of what the store holds, or where everything is anyway."""
        if self.store is None:
            return self.folder
        copy = Path(self.folder, "copy")
        self.store.copy_to(copy)
        return str(copy)

    def ids(self):
        return [row[0] for row in self.rows(["id"])]

    def partial(self):
        """No reader can tell loads apart."""

    def notes(self):
        """There is one table."""

    def rows(self, columns):
        return rows_by_duckdb(f"{self.look()}/orders", columns, "id")

    def files(self):
        return len(data_files(f"{self.look()}/orders"))

    def quarantined(self):
        return quarantined(f"{self.look()}/quarantine")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("kills", type=int)
    ap.add_argument("--seed", type=int, default=int(time.time()))
    ap.add_argument("--store", choices=["s3", "azure", "ceph"])
    a = ap.parse_args()
    with tempfile.TemporaryDirectory(prefix="landfall-kill-") as folder, api_to_load() as api, store_of(a.store, folder) as store:
        spec = Path(folder, "orders.toml")
        spec.write_text(SPEC.format(place=store.uri if store else folder, api=api))
        figures = loop(a.kills, a.seed, api, Ingested(spec, folder, store))
    proof("kills", f"parquet,{a.store or 'local'},ingest", figures)
    print(" ".join(f"{k}={v}" for k, v in figures.items()))
    return 1 if sum(figures.get(k, 0) for k in WRONG) else 0


def api_to_load():
    return demo_api("--records", 500, "--unavailable", 15, "--cut", 10, "--throttle-every", 29)


@contextlib.contextmanager
def store_of(kind, folder):
    """The store on a server, in the environment of what is started from here; or none."""
    if kind is None:
        yield None
        return
    import stores_servers

    with stores_servers.opened(kind, Path(folder, "server")) as store, stores_servers.environment(store.env):
        yield store


def loop(wanted, seed, api, target):
    """Kills what `target` starts, `wanted` times. Gives the figures, of which those in `WRONG` must be 0; `ended` are runs that ended, in
    good order, as the server died."""
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    began = time.monotonic()
    finish(target, "first")
    typical = time.monotonic() - began
    kills, restarts, rivals, ended, met, runs, seen, problems = 0, 0, 0, 0, 0, 1, 0, Counter()
    while kills < wanted:
        fetch(f"{api}/grow?n={rng.randint(100, 900)}", "POST")
        began = time.monotonic()
        proc = target.start()
        # Sometimes two are started at once: one takes over from the other, which must notice.
        rival = target.start() if rng.random() < 0.15 else None
        deadline = began + rng.uniform(0, 1.2 * typical)
        while time.monotonic() < deadline and proc.poll() is None:
            time.sleep(0.001)
        killed = proc.poll() is None
        # Sometimes the server dies instead, and comes again.
        restarted = killed and target.restart and rng.random() < 0.3
        if restarted:
            target.restart()
            killed, restarts = False, restarts + 1
        if killed:
            proc.kill()
            kills += 1
            # What it did not do is left to the next one: kills must not all come before anything is committed.
            typical *= 1.15
        _, said = proc.communicate()
        # Those that were not killed.
        ends = [] if killed else [(proc.returncode, said)]
        if rival:
            over = rival.poll() is not None
            rival.kill()
            _, said = rival.communicate()
            ends += [(rival.returncode, said)] if over else []
            rivals += 1
        runs += 1
        if not killed and not restarted:
            typical = 0.8 * typical + 0.2 * (time.monotonic() - began)
        for code, said in ends:
            if restarted and code in target.forgiven:
                print(f"run {runs} ended as the server died: {said.strip()}", flush=True)
                ended += 1
            elif code and not (rival and is_outrun(target, code, said)):
                print(f"run {runs} failed with {code}: {said.strip()}", flush=True)
                problems["failed"] += 1
        try:
            ids = target.ids()
        except Damaged as damage:
            if not (killed or rival):
                raise
            print(f"after kill {kills}: {damage}", flush=True)
            met += 1
            runs += 2
            problems += begin_again(target)
            ids = target.ids()
        if len(ids) != len(set(ids)) or len(ids) < seen:
            print(f"after kill {kills}: {len(ids)} rows, {len(set(ids))} ids, {seen} seen before", flush=True)
            problems["doubled"] += len(ids) - len(set(ids))
            problems["lost"] += max(0, seen - len(set(ids)))
        seen = len(ids)
        if parts := target.partial():
            print(f"after kill {kills}: of {parts} loads a reader sees a part", flush=True)
            problems["partial"] += parts
        if kills % 20 == 0 and killed:
            print(f"{kills} kills, {seen} orders, {target.files()} files", flush=True)
    finish(target, "last")
    problems += compare(Truth(api), target)
    broken = {}
    if target.damage:
        # A kill seldom does that: more of it is done by others.
        if met > 1 + kills // 500:
            problems["failed"] += met
        target.damage()
        try:
            target.ids()
            print("damage that was not seen", flush=True)
            problems["failed"] += 1
        except Damaged:
            problems += begin_again(target)
            problems += compare(Truth(api), target)
            broken = {"damaged": 1, "met": met}
        runs += 2
    truth = json.loads(fetch(f"{api}/truth"))
    served = {"served": truth["records"], "orders": truth["orders"], "quarantined": truth["bad"]}
    wrong = {k: problems[k] for k in WRONG if k != "partial" or target.partial() is not None}
    return {"kills": kills, "server_kills": restarts, "rivals": rivals, "ended": ended, **broken, "runs": runs + 1, **served, **wrong}


def proof(suite, of, figures):
    """The line that a suite of the proof prints of each thing that it ran."""
    print(f"proof suite={suite} of={of} " + " ".join(f"{k}={v}" for k, v in figures.items()), flush=True)


def finish(target, which):
    """A run to its end."""
    proc = target.start()
    try:
        _, said = proc.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        proc.kill()
        said = "it took too long"
    if proc.wait():
        sys.exit(f"the {which} run failed with {proc.returncode}: {said}")


def begin_again(target):
    """A run says that its database is damaged, and how to go on; what was landed is loaded again so. Gives what is wrong with that."""
    refused, problems = target.start(), Counter()
    _, said = refused.communicate(timeout=300)
    if not tells_of_damage(refused.returncode, said):
        print(f"damage ends with {refused.returncode}: {said.strip()}", flush=True)
        problems["failed"] += 1
    target.begin_again()
    finish(target, "next")
    return problems


def tells_of_damage(code, said):
    """Whether a run ended because its database is damaged, and says where one reads how to go on."""
    return code == CORRUPT and "Corrupt database file" in said and "docs/adbc.md" in said


def is_outrun(target, code, said):
    """Whether a run ended because another one has taken over."""
    return code in target.outrun or is_gone(code, said)


def is_gone(code, said):
    """Whether what it was about to stage was collected by another one, before it could ask who owns the shard."""
    return code == 4 and "another instance has taken over" in said


class Truth:
    """What the API has served so far, as far as it is right: records by their ids, and the bad ones as text."""

    def __init__(self, api):
        self.right = {r["id"]: r for r in map(json.loads, fetch(f"{api}/truth/orders").splitlines())}
        self.bad = set(fetch(f"{api}/truth/bad").decode().splitlines())


def compare(truth, target):
    """What differs between what was served and what was left, record by record."""
    problems = compare_rows(truth, COLUMNS, target.rows(COLUMNS))
    if (notes := target.notes()) is not None:
        problems += compare_rows(truth, ["id", "note"], notes)
    problems["partial"] += target.partial() or 0
    kept = target.quarantined()
    problems["lost"] += len(truth.bad - {r["raw"] for r in kept})
    problems["wrong"] += len({r["raw"] for r in kept} - truth.bad)
    # The overlap serves a bad record again, and then it is landed and refused again. But nothing landed is refused twice.
    places = Counter((r["shard"], r["segment"], r["record"]) for r in kept)
    problems["doubled"] += sum(n - 1 for n in places.values())
    return problems


def compare_rows(truth, columns, rows):
    """The same of a table that has a row for each record, with these columns of it."""
    problems, found = Counter(), Counter(row[0] for row in rows)
    problems["doubled"] += sum(n - 1 for n in found.values())
    problems["lost"] += len(truth.right.keys() - found.keys())
    problems["wrong"] += len(found.keys() - truth.right.keys())
    for row in rows:
        if (served := truth.right.get(row[0])) is None:
            continue
        want, got = {c: served.get(c) for c in columns}, dict(zip(columns, row))
        if "amount" in want:
            want["amount"] = Decimal(want["amount"])
        if "updated_at" in got:
            got["updated_at"] = got["updated_at"].strftime("%Y-%m-%dT%H:%M:%SZ")
        if want != got:
            problems["wrong"] += 1
            print(f"differs: {want} -> {got}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
