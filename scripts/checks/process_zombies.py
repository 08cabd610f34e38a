"""Stops a process that loads, lets others take over, finish several epochs and collect what they do not need any more, and wakes it: it must
see that it is outrun, and the destination, the quarantine and the landing hold what was served."""

import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kill_loop
from harness import FENCED, demo_api, fetch
from process_syscalls import traced, why_not
from process_worlds import WRONG, Found, children, ended, tried

# Calls at whose N-th a process is stopped, if its landing lies on the disk: by each one it has just done something that others can see.
ON_DISK = ("renameat2", "rename", "fsync", "unlink")

# As little is kept as can be.
GREEDY = ["--keep", "1", "--prune"]

# One file is one process's as long as it has it open.
WAITS = (4,)


def zombies(worlds, wanted, seed):
    """Prints a line for each kind. `wanted` in all, of each kind about as many."""
    reason = why_not()
    if reason:
        print(f"skipped stops at calls: {reason}", flush=True)
    each = -(-(wanted or 400) // len(worlds.kinds))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda kind: tried(of, worlds, kind, each, f"{seed} {kind}", not reason), worlds.kinds))
    for kind, figures in zip(worlds.kinds, found):
        kill_loop.proof("zombies", kind, {k: figures[k] for k in ("zombies", "fenced", "gone", "done", "vacuums", "replayed", *WRONG)})
    figures = sum(found, Counter())
    if not figures["fenced"]:
        print(f"failed: of {figures['zombies']} zombies not one was fenced: what they were woken to do is not tried", flush=True)
        figures["failed"] += 1
    return figures


def of(worlds, kind, wanted, seed, can_trace):
    """One place in which one process after the other is stopped, while the API grows."""
    rng, figures = random.Random(seed), Found(kind)
    # Every other one with a landing that is kept: it is loaded once more in the end.
    for greedy in (True, False):
        options = GREEDY if greedy else ["--keep", "1"]
        with demo_api("--records", 300) as api, worlds.world(kind, begun=False, options=options) as target:
            target.serve(api)
            kill_loop.finish(target, "first")
            most = figures["zombies"] + max(1, wanted // 2)
            for _ in range(2 * wanted):
                if figures["zombies"] < most:
                    zombie(target, api, rng, can_trace, figures)
            kill_loop.finish(target, "last")
            truth = kill_loop.Truth(api)
            figures.compare(truth, target, "in the end")
            if not greedy:
                with tempfile.TemporaryDirectory(prefix="landfall-again-") as folder:
                    again, said = target.again(folder)
                    if again is None:
                        figures.bad("failed", f"what was landed could not be loaded again: {said}")
                    elif missing := truth.right.keys() ^ set(again.ids()):
                        figures.bad("lost", f"{len(missing)} records differ in what was landed", len(missing))
                    else:
                        figures["replayed"] += 1
    return figures


def zombie(target, api, rng, can_trace, figures):
    """One that is stopped, outrun, and woken."""
    fetch(f"{api}/grow?n={rng.randint(100, 500)}", "POST")
    with tempfile.TemporaryDirectory(prefix="landfall-zombie-") as folder:
        log = Path(folder, "log")
        if can_trace and rng.random() < 0.7:
            call, number = rng.choice(moments(target)), int(rng.expovariate(1 / 8)) + 1
            what = f"{call} number {number}"
            proc = target.start(traced([call], log, f"{call}:signal=SIGSTOP:when={number}"), ["--one-thread"])
            stopped = wait_for_stop(proc)
        else:
            proc = target.start()
            moment = rng.uniform(0.02, 0.7)
            what = f"after {moment:.2f} s"
            time.sleep(moment)
            stopped = proc.pid if proc.poll() is None else None
            if stopped:
                os.kill(stopped, signal.SIGSTOP)
        if not stopped:
            # It made fewer calls, or was faster.
            code, said = ended(proc)
            if code:
                figures.bad("failed", f"one that was not stopped ended with {code}: {said}")
            return
        try:
            figures["zombies"] += 1
            number_of = f"zombie {figures['zombies']}"
            waits = False
            for _ in range(rng.randint(1, 3)):
                fetch(f"{api}/grow?n={rng.randint(500, 900)}", "POST")
                code, said = ended(target.start())
                if code in WAITS and target.sink.startswith(("duckdb", "sqlite")):
                    waits = True
                    break
                if code:
                    figures.ended_badly(code, said, f"{number_of}, stopped at {what}: the one after it")
            before = target.ids() if not waits else []
            if rng.random() < 0.5 and target.sink.startswith(("delta", "parquet", "tables")):
                figures["vacuums"] += 1
                ran = target.do("vacuum")
                if ran.returncode:
                    figures.bad("failed", f"vacuum ended with {ran.returncode}: {ran.stderr}")
        finally:
            wake(stopped)
        # Another thread may make its N-th call, and be stopped, only now.
        code, said = ended(proc, hopeless=lambda: wake(stopped))
    if code == FENCED:
        figures["fenced"] += 1
    elif kill_loop.is_gone(code, said):
        figures["gone"] += 1
    elif code == 0:
        # What it had begun, the others have finished; nothing was left to it.
        figures["done"] += 1
    else:
        figures.ended_badly(code, said, f"{number_of}, stopped at {what}, it")
    ids = target.ids()
    if len(ids) != len(set(ids)) or set(before) - set(ids):
        figures.bad("doubled", f"{number_of}, stopped at {what}: {len(ids)} rows, {len(set(ids))} ids, {len(before)} before it was woken")


def moments(target):
    """The calls of a process on its way to this target: one that has nothing on the disk makes no others, some write a database of their own, and some
    speak to one, be it for their checkpoints alone."""
    if target.store:
        return ["writev", "recvfrom"]
    speaks = "postgres" in target.sink or "--checkpoints-in-database" in target.options
    return [*ON_DISK, *["pwrite64"] * (target.kind in ("duckdb", "sqlite")), *["sendto"] * speaks]


def wake(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def wait_for_stop(proc):
    """The process below `strace` when it is stopped; `None` if it ends before."""
    while proc.poll() is None:
        for pid in children(proc.pid):
            if stands_still(pid) and stays(pid):
                return pid
        time.sleep(0.01)
    return None


def stands_still(pid):
    """Whether all of its threads do; it may end while they are looked at."""
    try:
        return all(state(t, pid) in ("T", "t") for t in os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return False


def stays(pid):
    """A tracer stops a process for moments; a signal for good."""
    for _ in range(10):
        time.sleep(0.02)
        if state(pid) not in ("T", "t"):
            return False
    return True


def state(pid, of=None):
    try:
        path = f"/proc/{of}/task/{pid}/stat" if of else f"/proc/{pid}/stat"
        return Path(path).read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""

