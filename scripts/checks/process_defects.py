"""What the other suites are worth: a defect is switched on in the processes, and one of them has to say so."""

import contextlib
import io
import random
from collections import Counter

import kill_loop
import process_syscalls
from process_worlds import WRONG

KILL = process_syscalls.KILL
# Behind these calls something is durable that was not before.
NAMES = ("rename", "renameat2")

# What is noticed of a process that is killed, and of one that is told of a failure.
LEFT = ("lost", "doubled", "wrong", "corrupt", "failed")
BELIEVED = ("believed",)

# Bugs that show when a process is killed at the wrong moment, or told of a failure: in which kind, at which calls, how, and what has to show it.
DEFECTS = {
    "CommitsBeforeCheckpoint": ("parquet", NAMES, KILL, LEFT),
    "FailedSyncIsIgnored": ("parquet", ("fsync",), "EIO", BELIEVED),
    "PositionBeforePages": ("parquet", NAMES, KILL, LEFT),
    "PositionIsAhead": ("parquet", NAMES, KILL, LEFT),
    "PreparedEpochIsDropped": ("parquet", NAMES, KILL, LEFT),
    "QuarantineIsApart": ("parquet", NAMES, KILL, LEFT),
    "StateIsNotSaved": ("parquet", NAMES, KILL, LEFT),
    "TablesAreLeftBehind": ("tables", NAMES, "EROFS", LEFT),
}


def defects(worlds, wanted, seed):
    """Each defect with its calls in random order, until one shows it that shows nothing without it. Prints one line. An error of the suite itself
    ends it: it is no sign of a defect."""
    if reason := process_syscalls.why_not():
        print(f"skipped: {reason}", flush=True)
        return Counter(skipped=1)
    rng, figures = random.Random(seed), Counter()
    for defect, (kind, calls, fault, shows) in DEFECTS.items():
        if kind not in worlds.kinds:
            print(f"skipped {defect}: it shows in {kind}", flush=True)
            continue
        options = ["--one-thread", "--defect", defect]
        figures["defects"] += 1
        points = process_syscalls.points(worlds, kind, True, options)
        points = [p for p in points if p[0] in calls and p[1] == fault]
        rng.shuffle(points)
        for runs, point in enumerate(points):
            with contextlib.redirect_stdout(io.StringIO()):
                found = process_syscalls.inject(worlds, kind, True, *point, options)
            if shown := [k for k in shows if found[k]]:
                sound = process_syscalls.inject(worlds, kind, True, *point)
                also = [k for k in WRONG if sound[k]]
                words = f"NO SIGN OF IT: {', '.join(also)} without it" if also else ", ".join(shown)
                print(f"{defect}: {words} after {runs + 1} runs, with {fault} at {point[0]} number {point[2]}", flush=True)
                figures["failed" if also else "caught"] += 1
                break
        else:
            print(f"{defect}: NOT SEEN in {len(points)} runs", flush=True)
            figures["failed"] += 1
    kill_loop.proof("processes", "defects", {k: figures[k] for k in ("defects", "caught")})
    return figures
