"""Servers that stand still for a while, or are gone, while a process speaks to them: it waits, or ends with an error of its own, and the next one
goes on."""

import os
import random
import signal
import time
from collections import Counter

import kill_loop
from process_worlds import WRONG, Found, ended, tried


def servers(worlds, wanted, seed):
    """One after the other, since others would wait too: few, because each takes seconds. Prints a line for each kind."""
    rng, sums = random.Random(seed), Counter()
    kinds = [kind for kind in worlds.kinds if "s3" in kind or "postgres" in kind]
    for kind in kinds:
        figures = Counter()
        for _ in range(max(1, (wanted or 400) // 20)):
            figures += tried(until_stopped, worlds, kind, rng)
        kill_loop.proof("servers", kind, {k: figures[k] for k in ("stops", "waited", "errors", *WRONG)})
        sums += figures
    return sums


def until_stopped(worlds, kind, rng):
    """A run that ended before its moment came is no case: another one is stopped sooner."""
    figures, longest = Counter(), 0.6
    while not figures["stops"] and longest > 0.02:
        figures += pause(worlds, kind, rng, longest)
        longest /= 2
    return figures


def pause(worlds, kind, rng, longest):
    """The server is stopped at some moment of a run, for some seconds."""
    figures = Found(kind)
    with worlds.world(kind, begun=rng.random() < 0.5) as target:
        proc = target.start()
        time.sleep(rng.uniform(0.02, longest))
        if proc.poll() is None:
            figures["stops"] += 1
            with stopped(worlds.processes(kind)):
                time.sleep(rng.uniform(0.5, 3))
        code, said = ended(proc)
        if code == 0:
            figures["waited"] += 1
        elif code == 4:
            figures["errors"] += 1
        else:
            figures.ended_badly(code, said)
        figures.next_run(worlds.truth, target, target.start())
    return figures


class stopped:
    """All of the processes of a server stand still."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        for pid in self.pids:
            send(pid, signal.SIGSTOP)

    def __exit__(self, *_):
        for pid in self.pids:
            send(pid, signal.SIGCONT)


def send(pid, what):
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass
