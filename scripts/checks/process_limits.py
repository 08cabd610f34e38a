"""What a process is not given: room on the disk, the right to write, open files, memory, the length of a file. It ends with an error that says
what is missing and where, or is killed; when it is given it again, the next one goes on."""

import contextlib
import os
import random
import resource
import signal
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kill_loop
from process_worlds import WRONG, Found, ended, tried

MIB = 1 << 20

# So many runs, of which each is given another part, do not all come to their end.
ENOUGH_RUNS = 10

# Room that a run needs.
ROOM = {None: 300 << 10, "tables": 600 << 10, "duckdb": 2 * MIB}

# What ends a process, by its exit code, and what it says then.
ANYTHING = ("",)
NO_THREADS = ("OS can't spawn worker thread", "failed to spawn thread")
# A compressor that is given no memory panics, which the library catches.
NO_MEMORY = "returned null pointer"

# Memory that a process needs to begin with; and more than it ever needs.
MEMORY = (30 * MIB, 200 * MIB)


def limits(worlds, wanted, seed):
    """`wanted` cases of each kind that has something on the disk; prints a line for each limit."""
    kinds, rng = [k for k in worlds.kinds if "s3" not in k], random.Random(seed)
    cases, ways = [], list(WAYS)
    if reason := why_no_disk():
        print(f"skipped full disks: {reason}", flush=True)
        ways = [way for way in ways if way not in ("disk", "readonly")]
    for way in ways:
        number = -(-(wanted or 400) // len(ways))
        # Each kind in turn.
        kinds = rng.sample(kinds, len(kinds))
        cases += [(way, kinds[n % len(kinds)], rng.random()) for n in range(number)]
    figures = {way: Counter() for way in ways}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for case, found in pool.map(lambda case: (case, tried(one, worlds, *case)), cases):
            figures[case[0]] += found
            figures[case[0]][case[1]] += found["runs"]
    for way, found in figures.items():
        if found["runs"] >= ENOUGH_RUNS and not found["errors"] + found["kills"]:
            print(f"failed: {way}: in {found['runs']} runs nothing was missing", flush=True)
            found["failed"] += 1
        kill_loop.proof("limits", way, {k: found[k] for k in ("runs", "enough", "errors", "kills", *WRONG, *sorted(kinds))})
    return sum(figures.values(), Counter())


def one(worlds, way, kind, part):
    """A run that is given this part of what it needs, and one that is given all."""
    figures = Found(f"{kind} with {part:.3f} of {way}")
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(worlds.world(kind))
        limited, words, deaths = WAYS[way](stack, target, part)
        code, said = ended(limited())
        figures["runs"] += 1
        if code == 0:
            figures["enough"] += 1
            if way == "readonly":
                figures.bad("failed", "it came to its end where nothing could be written")
        elif code in deaths:
            figures["kills"] += 1
            if not any(word in said for word in deaths[code]):
                figures.bad("failed", f"ended with {code}, and does not say what is missing: {said}")
        elif code in (1, 4) and said.startswith("error: ") and "panicked" not in said:
            figures["errors"] += 1
            # It names what is missing, and where.
            if not any(word in said for word in words):
                figures.bad("failed", f"it does not say what is missing: {said}")
            # A driver names the table.
            if way in ("disk", "readonly") and str(target.folder) not in said and "table=" not in said:
                figures.bad("failed", f"it does not say where: {said}")
        else:
            figures.ended_badly(code, said)
        try:
            figures.twice(worlds.truth, target)
        except Exception as error:
            figures.bad("corrupt", f"ended with {code}: {said}\nand cannot be read before the next run: {error}")
        # What was missing is there again.
        figures.next_run(worlds.truth, target, target.freed())
    return figures


class Room:
    """A small disk of its own for a folder: in a namespace, where everybody may mount one. What was in the folder is on it."""

    def __init__(self, folder, more):
        # A folder takes no room there, and a file whole pages.
        used = sum(-(-f.stat().st_size // 4096) * 4096 for f in folder.rglob("*") if f.is_file())
        self.folder, self.size = folder, max(used + more, 64 << 10)
        keep = f"cp -a {folder} {folder}.kept && mount -t tmpfs -o size={self.size} none {folder} && cp -a {folder}.kept/. {folder} && echo ready && exec sleep 3600"
        self.keeper = subprocess.Popen(["unshare", "-rm", "sh", "-c", keep], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.keeper.stdout.readline().strip() != "ready":
            self.close()
            raise OSError(self.keeper.stderr.read())
        self.seen = Path(f"/proc/{self.keeper.pid}/root{folder}")

    def inside(self):
        """The command that runs another one where the disk is seen."""
        return ["nsenter", "-t", str(self.keeper.pid), "-U", "-m", "--preserve-credentials", "--"]

    def remount(self, options):
        return subprocess.run([*self.inside(), "mount", "-o", f"remount,{options}", str(self.folder)], check=True)

    def close(self):
        self.keeper.kill()
        self.keeper.wait()


def why_no_disk():
    """Why no small disk can be had here; `None` if it can."""
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    try:
        ran = subprocess.run(probe, capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no unshare"
    return None if ran.returncode == 0 else f"nothing can be mounted: {ran.stderr.strip()}"


def disk(stack, target, part):
    """Of the room that a run needs."""
    room = Room(target.folder, int(part * ROOM.get(target.kind, ROOM[None])))
    stack.callback(room.close)
    target.seen = room.seen

    def freed():
        room.remount("size=256m")
        return target.start(room.inside())

    target.freed = freed
    # SQLite's driver says that it could not roll back what the database had rolled back already.
    words = ("no space left", "No space left", "disk is full", "disk full", "out of disk", "cannot rollback")
    return lambda: target.start(room.inside()), words, {}


def readonly(stack, target, part):
    """A disk that is turned read-only, as a system does that has met an error."""
    room = Room(target.folder, 64 * MIB)
    stack.callback(room.close)
    target.seen = room.seen
    room.remount("ro")

    def freed():
        room.remount("rw")
        return target.start(room.inside())

    target.freed = freed
    return lambda: target.start(room.inside()), ("read-only", "readonly", "Read-only"), {}


def prlimit(target, what, number, before=None):
    target.freed = target.start
    return lambda: target.start(preexec_fn=lambda: (before and before(), resource.setrlimit(what, (number, number))))


def files(stack, target, part):
    """Of the files that may be open."""
    number = 8 + int(part * 12)
    return prlimit(target, resource.RLIMIT_NOFILE, number), ("open files", "Too many", "unable to open", "os error 24"), {}


def longest(target, part):
    """Not less than a file has already: such a limit is for what is new."""
    there = max((f.stat().st_size for f in target.folder.glob("orders.*")), default=0)
    return there + 64 + int(part * 60_000)


def length(stack, target, part):
    """Of the bytes that a file may have: the call fails."""
    ignored = lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    words = ("File too large", "file system failed", "too large", "disk I/O error", "database or disk is full", "could not write", "Could not write")
    return prlimit(target, resource.RLIMIT_FSIZE, longest(target, part), ignored), words, {}


def length_kills(stack, target, part):
    """The same, but whoever writes more is killed."""
    restored = lambda: signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    return prlimit(target, resource.RLIMIT_FSIZE, longest(target, part), restored), (), {-signal.SIGXFSZ: ANYTHING}


def memory(stack, target, part):
    """Of the address space: who asks for more ends."""
    number = MEMORY[0] + int(part * (MEMORY[1] - MEMORY[0]))
    words = ("memory", "Memory", "bad_alloc", "failed to map", "cannot map", "os error 12", "errno 12", *NO_THREADS)
    # Where a thread cannot be started the runtime panics, and the pipeline may say so; where it has not begun yet, it may hang. A stack that
    # cannot grow is ended by the system without a word.
    deaths = {-signal.SIGABRT: words, 101: words, 127: words, 10: (*NO_THREADS, NO_MEMORY), None: NO_THREADS, -signal.SIGSEGV: ANYTHING}
    return prlimit(target, resource.RLIMIT_AS, number), words, deaths


WAYS = {"disk": disk, "readonly": readonly, "files": files, "length": length, "length,kills": length_kills, "memory": memory}
