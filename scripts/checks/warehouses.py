"""warehouses.py [KILLS] [--seed S] [--store s3|ceph] [--histories N] [--only tables,kills,others]: sinks on real servers, killed at random,
and what readers of others find in the tables. The last line has the figures; the exit status is 0 only if nothing is different."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter

import histories
import kill_loop
import stores_servers
import torture
import warehouse_kills
from harness import TARGET
from postgres_server import postgres

PARTS = ("tables", "kills", "others")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("kills", type=int, nargs="?", default=100)
    ap.add_argument("--seed", type=int, default=int(time.time()))
    ap.add_argument("--store", choices=["s3", "ceph"], default="ceph", help="what is spoken to as S3")
    ap.add_argument("--histories", type=int, default=20, help="of each disposition")
    ap.add_argument("--only", default=",".join(PARTS), help="some of these")
    ap.add_argument("--more", action="store_true", help="the script has installed more readers")
    a = ap.parse_args()
    only = set(a.only.split(","))
    if unknown := only - set(PARTS):
        ap.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    figures, comparison, sinks, stores = Counter(), torture.Comparison(), set(), set()
    with postgres() as server:
        if "tables" in only:
            with tempfile.TemporaryDirectory(prefix="landfall-store-") as folder, stores_servers.opened(a.store, folder) as store:
                torture.compare_all(comparison, server, store)
            histories.compare_all(comparison, server, a.histories, a.seed)
            sinks |= {"delta", "parquet", "postgres", "duckdb", "sqlite"}
            stores |= {"local", a.store}
            figures["tables_compared"] += comparison.compared
            figures["different"] += comparison.different
        if "kills" in only and a.kills:
            sums, killed = warehouse_kills.kills(a.kills, a.seed, server, a.store)
            sinks |= {name.partition(",")[0] for name in killed}
            stores |= {"local", a.store}
            print(" ".join(f"{k}={v}" for k, v in sums.items()), flush=True)
            figures["different"] += sum(sums[k] for k in kill_loop.WRONG)
        if "others" in only:
            with tempfile.TemporaryDirectory(prefix="landfall-store-") as folder, stores_servers.opened(a.store, folder) as store:
                others(server, store, figures)
    print(f"sinks={len(sinks)} stores={len(stores)} tables_compared={figures['tables_compared']} different={figures['different']}")
    return 1 if figures["different"] else 0


def others(server, store, figures):
    """The examples, and the scripts that compare what is theirs."""

    def run(name, command, env=None):
        ran = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        last = (ran.stdout.strip().splitlines() or [""])[-1]
        print(f"{'FAILED ' if ran.returncode else 'ok     '} {name}: {last}", flush=True)
        figures["different"] += bool(ran.returncode)
        return dict(re.findall(r"(\w+)=(\d+)", last))

    run("api_to_postgres", [TARGET / "api_to_postgres"], {"WAREHOUSE_URL": server.url()})
    run("api_to_delta", [TARGET / "api_to_delta"])
    run("api_to_duckdb", [TARGET / "api_to_duckdb"])
    run("api_to_delta on S3", [TARGET / "api_to_delta", f"{store.uri}/examples"], store.env)
    found = run("scripts/delta-readers", ["scripts/delta-readers"])
    figures["tables_compared"] += int(found.get("tables_compared", 0))
    run("scripts/stores 5 --only s3", ["scripts/stores", 5, "--only", "s3"])


if __name__ == "__main__":
    sys.exit(main())
