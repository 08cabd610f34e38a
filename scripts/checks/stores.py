"""stores.py KILLS: `landfall` on object stores that were not written here: what every store promises, whole pipelines, kills of the
process, and stores that ignore conditions. The last line has the figures."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import stores_servers

HERE = Path(__file__).parent


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("kills", type=int, nargs="?", default=20)
    ap.add_argument("--only", choices=["s3", "azure", "ceph"], help="this store, and no refusals")
    a = ap.parse_args()
    figures = {"stores": 0, "checks": 0, "refused": 0, "kills": 0, "server_kills": 0, "different": 0}
    for kind, variable in (("s3", "LANDFALL_S3_URI"), ("azure", "LANDFALL_AZURE_URI"), ("ceph", "LANDFALL_S3_URI")):
        if a.only in (None, kind):
            figures["stores"] += 1
            checks(kind, variable, figures)
            if a.kills:
                kills(kind, a.kills, figures)
    if a.only is None:
        refusals(figures)
    print(" ".join(f"{k}={v}" for k, v in figures.items()))
    return 1 if figures["different"] or not figures["checks"] else 0


def checks(kind, variable, figures):
    """The conformance suite, and whole pipelines."""
    with tempfile.TemporaryDirectory(prefix="landfall-store-") as folder, stores_servers.opened(kind, folder) as store:
        # Not those that another server is for: they pass without doing anything.
        tests = [f"real::{'azure' if kind == 'azure' else 's3'}::", "real::a_pipeline", "real::a_large", "real::a_bucket"]
        passed, failed = cargo_test(tests, variable, store.uri, store.env)
    print(f"{kind}: {passed} checks passed, {failed} failed", flush=True)
    figures["checks"] += passed
    figures["different"] += failed


def kills(kind, number, figures):
    """The loop of kills, with everything in the store."""
    command = [sys.executable, str(HERE / "kill_loop.py"), str(number), "--store", kind]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(ran.stdout, end="", flush=True)
    found = dict(re.findall(r"(\w+)=(\d+)", (ran.stdout.strip().splitlines() or [""])[-1]))
    wrong = sum(int(found.get(k, 0)) for k in ("failed", "wrong", "lost", "doubled"))
    for figure in ("kills", "server_kills"):
        figures[figure] += int(found.get(figure, 0))
    figures["different"] += wrong or (1 if ran.returncode else 0)


def refusals(figures):
    """A store that lies is refused at the start."""
    with tempfile.TemporaryDirectory(prefix="landfall-store-") as folder, stores_servers.s3rver(folder) as store:
        test = "real::a_store_that_ignores_conditions_is_refused"
        passed, failed = cargo_test([test], "LANDFALL_LYING_URI", store.uri, store.env)
    print(f"s3rver: {'refused' if passed else 'NOT REFUSED'}", flush=True)
    figures["refused"] += passed
    figures["different"] += failed


def cargo_test(names, variable, uri, env):
    """Runs tests of `tests/stores` by their names, on the store that a variable names: (passed, failed). One that does not see the variable has failed."""
    command = ["cargo", "test", "--locked", "--quiet", "--all-features", "--test", "stores", "--", "--nocapture", *names]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **env, variable: uri})
    counts = re.search(r"(\d+) passed; (\d+) failed", ran.stdout)
    if ran.returncode or not counts:
        print(ran.stdout, flush=True)
    passed, failed = map(int, counts.groups()) if counts else (0, 1)
    skipped = ran.stdout.count(f"skipped: {variable} ")
    return passed, failed + skipped


sys.exit(main())
