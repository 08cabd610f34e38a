"""processes.py [CASES] [--long] [--only syscalls,zombies,limits,servers,defects] [--of KIND;KIND] [--seed S]: what becomes of real processes, on the
real file system and with real servers. The last line has the figures; the exit status is 0 only if nothing is lost, doubled or wrong."""

import argparse
import contextlib
import sys
import time
from collections import Counter

import process_defects
import process_limits
import process_servers
import process_syscalls
import process_worlds
import process_zombies
import stores_servers
from postgres_server import postgres
from process_worlds import WRONG

SUITES = {
    "syscalls": process_syscalls.syscalls,
    "zombies": process_zombies.zombies,
    "limits": process_limits.limits,
    "servers": process_servers.servers,
    "defects": process_defects.defects,
}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("cases", type=int, nargs="?", default=120, help="of each suite")
    ap.add_argument("--long", action="store_true", help="all that there are")
    ap.add_argument("--only", default=",".join(SUITES), help="some of these")
    ap.add_argument("--of", default=";".join(process_worlds.KINDS), help="some of these")
    ap.add_argument("--seed", type=int, default=int(time.time()))
    a = ap.parse_args()
    if unknown := set(a.only.split(",")) - SUITES.keys():
        ap.error(f"no suite {', '.join(sorted(unknown))}: there are {', '.join(SUITES)}")
    kinds, sums = a.of.split(";"), Counter()
    print(f"seed {a.seed}", flush=True)
    with contextlib.ExitStack() as stack:
        # A client whose first message is made to fail waits for an answer, until the server gives it up.
        server = stack.enter_context(postgres(run_with=("-c", "authentication_timeout=10s")))
        store = None
        if any("s3" in kind for kind in kinds):
            store = stack.enter_context(stores_servers.moto())
            stack.enter_context(stores_servers.environment(store.env))
        worlds = stack.enter_context(process_worlds.Worlds(server, store, kinds).opened())
        for name in a.only.split(","):
            began = time.monotonic()
            sums += SUITES[name](worlds, None if a.long else a.cases, a.seed)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    print(" ".join(f"{k}={v}" for k, v in {**{k: 0 for k in WRONG}, **sums}.items()))
    return 1 if sum(sums[k] for k in WRONG) else 0


if __name__ == "__main__":
    sys.exit(main())
