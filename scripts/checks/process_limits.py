"""What a process is not given: room on the disk, on that of its server, or in its object store, the right to write, open files, memory, the length of a file. It ends
with an error that says what is missing and where, or is killed; when it is given it again, the next one goes on."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kill_loop
from postgres_server import PostgresServer, hand_over, owner
from process_worlds import LATE, WRONG, Found, Worlds, ended, met, seldom, tried

MIB = 1 << 20

# So many runs, of which each is given another part, do not all come to their end.
ENOUGH_RUNS = 10

# Room that a run needs; and more than a folder or a server ever needs.
ROOM = {None: 300 << 10, "tables": 600 << 10, "duckdb": 2 * MIB}
PLENTY = 256 * MIB

# The disk of PostgreSQL is full, or the object store: what it is, and the room that a run needs there.
OF_SERVER, OF_STORE = "disk,server", "store"
ELSEWHERE = {OF_SERVER: (lambda worlds: worlds.server, 3 * MIB // 2), OF_STORE: (lambda worlds: worlds.store, 16 << 10)}

# What says that a disk is full. SQLite's driver says that it could not roll back what the database had rolled back already; PostgreSQL says no
# more of a file that it writes for each database.
FULL = ("no space left", "No space left", "disk is full", "disk full", "out of disk", "free disk space", "cannot rollback", "could not write init file", "the store is full")

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
    in_postgres, in_store = [k for k in kinds if "postgres" in k], [k for k in worlds.kinds if "s3" in k]
    ways = dict.fromkeys(WAYS if kinds else (), kinds)
    if kinds and (reason := why_no_disk()):
        print(f"skipped full disks: {reason}", flush=True)
        ways = {way: of for way, of in ways.items() if way not in ("disk", "readonly")}
    if in_postgres and (reason := why_no_disk(owner())):
        print(f"skipped full disks of servers: {reason}", flush=True)
    elif in_postgres:
        ways[OF_SERVER] = in_postgres
    if in_store:
        ways[OF_STORE] = in_store
    cases = []
    for way, of in ways.items():
        number = -(-(wanted or 400) // len(ways))
        # Each kind in turn.
        of = rng.sample(of, len(of))
        cases += [(way, of[n % len(of)], rng.random()) for n in range(number)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ran = list(pool.map(lambda case: (case, tried(one, worlds, *case)), [case for case in cases if case[0] not in ELSEWHERE]))
    # One after the other: what a server is not given, all would miss.
    ran += [(case, tried(one_elsewhere, worlds, *case)) for case in cases if case[0] == OF_STORE]
    if OF_SERVER in ways:
        with on_a_small_disk(in_postgres) as others:
            ran += [(case, tried(one_elsewhere, others, *case)) for case in cases if case[0] == OF_SERVER]
    figures = {way: Counter() for way in ways}
    for (way, kind, _), found in ran:
        figures[way] += found
        figures[way][kind] += found["runs"]
    for way, found in figures.items():
        if found["runs"] >= ENOUGH_RUNS and not found["errors"] + found["kills"]:
            print(f"failed: {way}: in {found['runs']} runs nothing was missing", flush=True)
            found["failed"] += 1
        kill_loop.proof("limits", way, {k: found[k] for k in ("runs", "enough", "errors", "kills", *(["gone"] if way == OF_SERVER else []), *met(found), *WRONG, *sorted(worlds.kinds))})
    return seldom(sum(figures.values(), Counter()))


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
            # A driver names the table, or that in which rows are staged.
            if way in ("disk", "readonly") and not any(where in said for where in (str(target.folder), "table=", "staging=")):
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


def one_elsewhere(worlds, way, kind, part):
    """A run while a server is given this part of the room that it needs, and one that has all."""
    find, needed = ELSEWHERE[way]
    figures, place = Found(f"{kind} with {part:.3f} of {way}"), find(worlds)
    with worlds.world(kind) as target:
        try:
            place.leave(int(part * needed))
            code, said = ended(target.start(more=["--patience", 2]))
            gone = place.is_gone()
        finally:
            place.make_room()
        figures["runs"] += 1
        figures["gone"] += gone
        if code == 0:
            figures["enough"] += 1
        elif code in (1, 4) and said.startswith("error: ") and "panicked" not in said:
            figures["errors"] += 1
            # From a server that is gone nobody hears why.
            if not gone and not any(word in said for word in FULL):
                figures.bad("failed", f"it does not say what is missing: {said}")
        else:
            figures.ended_badly(code, said)
        figures.twice(worlds.truth, target)
        figures.next_run(worlds.truth, target, target.start())
    return figures


class Room:
    """A small disk of its own for a folder: in a namespace, where everybody may mount one. What was in the folder is on it. It is that of who runs
    what comes behind `before`."""

    def __init__(self, folder, more, before=()):
        # A folder takes no room there, and a file whole pages.
        used = sum(-(-f.stat().st_size // 4096) * 4096 for f in folder.rglob("*") if f.is_file())
        self.folder, self.size, self.before = folder, max(used + more, 64 << 10), before
        keep = f"cp -a {folder} {folder}.kept && mount -t tmpfs -o size={self.size} none {folder} && cp -a {folder}.kept/. {folder} && echo ready && exec sleep 3600"
        self.keeper = subprocess.Popen([*before, "unshare", "-rm", "sh", "-c", keep], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.keeper.stdout.readline().strip() != "ready":
            self.close()
            raise OSError(self.keeper.stderr.read())
        self.seen = Path(f"/proc/{self.keeper.pid}/root{folder}")

    def inside(self):
        """The command that runs another one where the disk is seen."""
        return [*self.before, "nsenter", "-t", str(self.keeper.pid), "-U", "-m", "--preserve-credentials", "--"]

    def remount(self, options):
        # With its source, which is none: what is not named stays as it is, and whose it is cannot be named inside.
        return subprocess.run([*self.inside(), "mount", "-o", f"remount,{options}", "none", str(self.folder)], check=True)

    def leave(self, more):
        """So much more can be written, and then it is full."""
        there = os.statvfs(self.seen)
        self.remount(f"size={(there.f_blocks - there.f_bfree) * there.f_frsize + more}")

    def close(self):
        self.keeper.kill()
        self.keeper.wait()


class OnSmallDisk(PostgresServer):
    """Its data lies on a small disk, with its log of what is to be written, of which each part is new there."""

    def __init__(self, folder):
        disk = folder / "disk"
        disk.mkdir()
        hand_over(folder)
        hand_over(disk)
        self.room = Room(disk, PLENTY, owner())
        super().__init__(folder, self.room.seen / "data", ["--wal-segsize=1"], ["-c", "wal_recycle=off"])

    def leave(self, more):
        import psycopg

        self.heard = self.log.stat().st_size
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        self.room.leave(more)

    def is_gone(self):
        """Whether it ended since, for lack of room: it does if it cannot write that log. It may have come back."""
        with open(self.log, errors="replace") as log:
            log.seek(self.heard)
            return "PANIC: " in log.read() or not self.is_ready()

    def make_room(self):
        self.room.remount(f"size={PLENTY}")
        if not self.is_ready():
            self.stop()
            self.start()


@contextlib.contextmanager
def on_a_small_disk(kinds):
    """Worlds of these kinds in a server that has room until it is taken from it."""
    with tempfile.TemporaryDirectory(prefix="landfall-postgres-") as folder:
        server = OnSmallDisk(Path(folder))
        try:
            with Worlds(server, None, kinds).opened() as worlds:
                yield worlds
        finally:
            server.stop()
            server.room.close()


def why_no_disk(before=()):
    """Why no small disk can be had here, by who runs what comes behind `before`; `None` if it can."""
    probe = [*before, "unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
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
        room.remount(f"size={PLENTY}")
        return target.start(room.inside())

    target.freed = freed
    return lambda: target.start(room.inside()), FULL, {}


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
    deaths = {-signal.SIGABRT: words, 101: words, 127: words, 10: (*NO_THREADS, NO_MEMORY), LATE: NO_THREADS, -signal.SIGSEGV: ANYTHING}
    return prlimit(target, resource.RLIMIT_AS, number), words, deaths


WAYS = {"disk": disk, "readonly": readonly, "files": files, "length": length, "length,kills": length_kills, "memory": memory}
