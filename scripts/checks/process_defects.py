"""What the other suites are worth: a defect is switched on in the processes, and one of them has to say so."""

import contextlib
import io
import random
from collections import Counter

import kill_loop
import process_syscalls
from process_worlds import tried

# Bugs that show when a process is killed at the wrong moment, or told of a failure.
DEFECTS = (
    "CommitsBeforeCheckpoint",
    "PositionBeforePages",
    "PositionIsAhead",
    "PreparedEpochIsDropped",
    "QuarantineIsApart",
    "StateIsNotSaved",
)

# Behind these calls something is durable that was not before.
CALLS = ("rename", "renameat2")

KIND = "parquet"


def defects(worlds, wanted, seed):
    """Each defect with kills at calls in random order, until one shows it. Prints one line."""
    if reason := process_syscalls.why_not():
        print(f"skipped: {reason}", flush=True)
        return Counter(skipped=1)
    rng, figures = random.Random(seed), Counter()
    for defect in DEFECTS:
        options = ["--one-thread", "--defect", defect]
        figures["defects"] += 1
        try:
            points = process_syscalls.points(worlds, KIND, True, options)
        except SystemExit as error:
            print(f"{defect}: {error}", flush=True)
            figures["caught"] += 1
            continue
        points = [p for p in points if p[0] in CALLS and p[1] == process_syscalls.KILL]
        rng.shuffle(points)
        for runs, point in enumerate(points):
            with contextlib.redirect_stdout(io.StringIO()):
                found = tried(process_syscalls.inject, worlds, KIND, True, *point, options)
            if shown := [k for k in process_syscalls.WRONG if found[k]]:
                print(f"{defect}: {', '.join(shown)} after {runs + 1} runs, with a kill at {point[0]} number {point[2]}", flush=True)
                figures["caught"] += 1
                break
        else:
            print(f"{defect}: NOT SEEN in {len(points)} runs", flush=True)
            figures["failed"] += 1
    kill_loop.proof("processes", "defects", {k: figures[k] for k in ("defects", "caught")})
    return figures
