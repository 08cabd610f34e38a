"""Makes calls of the system fail, or kills at them, in a process that loads the demo API: `strace` does both at the N-th call of a thread.
The process does everything in one order, so that N = 1, 2, 3 … are all there are. After each, the next process goes on, and what it
leaves is compared with what was served."""

import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kill_loop
from harness import CORRUPT
from process_worlds import WRONG, Found, ended, met, seldom, tried

KILL = "KILL"

# Calls, and what each is made to say besides ending the process. Only those are tried that a process of the kind makes.
FAULTS = {
    "fsync": ("EIO", "ENOSPC", "EINTR"),
    "fdatasync": ("EIO", "ENOSPC", "EINTR"),
    "write": ("ENOSPC", "EIO", "EINTR"),
    "pwrite64": ("ENOSPC", "EIO"),
    "ftruncate": ("EIO",),
    "rename": ("EIO", "ENOSPC", "EROFS"),
    "renameat": ("EIO", "ENOSPC", "EROFS"),
    "renameat2": ("EIO", "ENOSPC", "EROFS"),
    "link": ("EIO", "ENOSPC"),
    "linkat": ("EIO", "ENOSPC"),
    "mkdir": ("ENOSPC", "EIO"),
    "unlink": ("EIO",),
    "openat": ("EMFILE", "EIO"),
    "read": ("EIO", "EINTR"),
    "pread64": ("EIO",),
    "sendto": ("ECONNRESET",),
    "writev": ("ECONNRESET",),
    "recvfrom": ("ECONNRESET",),
}

# Of these, which are about a connection.
OF_SOCKETS = ("sendto", "writev", "recvfrom")

# How a process may end that was told of a failure: trying again may help, or somebody has to do something.
CLEAN = (1, 4)

# Calls come in one order, and are counted.
ORDERED = ("--one-thread",)

CALL = re.compile(r"^(\d+) +(\w+)\((.*)")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>")


class Log:
    """What `strace` has written down: calls in their order, as (thread, name, the rest of the line)."""

    def __init__(self, path):
        self.calls, begun = [], {}
        # It may be looked at before there is one.
        for line in Path(path).read_text(errors="replace").splitlines() if Path(path).exists() else ():
            if found := CALL.match(line):
                begun[found[1]] = len(self.calls)
                self.calls.append([found[1], found[2], found[3]])
            elif (found := RESUMED.match(line)) and found[1] in begun:
                self.calls[begun[found[1]]][2] += line

    def injected(self):
        """The calls that were made to fail, by where they are in `calls`: one in each thread that made so many."""
        return {at: rest for at, (_, _, rest) in enumerate(self.calls) if "(INJECTED)" in rest}


def traced(calls, log, inject=None):
    """The command before another one. With the filter in the kernel, which is faster, no signal is sent."""
    filtered = [] if inject and "signal=" in inject else ["--seccomp-bpf"]
    command = ["strace", "-f", *filtered, "-yy", "-s", "0", "-o", str(log), "-e", f"trace={','.join(calls)}"]
    return command + (["-e", f"inject={inject}"] if inject else []) + ["--"]


def why_not():
    """Why nothing can be injected here; `None` if it can."""
    with tempfile.TemporaryDirectory(prefix="landfall-strace-") as folder:
        try:
            command = [*traced(["fsync"], Path(folder, "log"), "fsync:error=EIO:when=1"), sys.executable, "-c", "import os; os.fsync(0)"]
            ran = subprocess.run(command, capture_output=True, text=True, stdin=open(Path(folder, "log"), "w+"))
        except FileNotFoundError:
            return "there is no strace"
        return None if "Input/output error" in ran.stderr else f"strace may not trace: {ran.stderr.strip()}"


def is_about(name, rest, folder):
    """Whether a call is one that can really fail so: on a file of the world, or on a connection. Wake-ups of threads are not."""
    if name in OF_SOCKETS:
        return "<socket:" in rest or "<TCP" in rest
    return str(folder) in rest.split(" = ")[0]


def points(worlds, kind, begun, options=ORDERED):
    """Every (call, fault, N) of a run of this kind that nothing happens to."""
    with worlds.world(kind, begun, options) as target, tempfile.TemporaryDirectory(prefix="landfall-strace-") as place:
        code, said = ended(target.start(traced(FAULTS, Path(place, "log"))))
        if code:
            sys.exit(f"a run of {kind} under strace failed with {code}: {said}")
        numbers, some, others = Counter(), defaultdict(set), defaultdict(set)
        for thread, name, rest in Log(Path(place, "log")).calls:
            numbers[thread, name] += 1
            (some if is_about(name, rest, target.folder) else others)[name].add(numbers[thread, name])
    # What fails, fails in each thread that makes so many calls.
    faults = lambda call, number: (KILL,) if number in others[call] else (KILL, *FAULTS[call])
    return [(call, fault, number) for call in FAULTS for number in sorted(some[call]) for fault in faults(call, number)]


def syscalls(worlds, wanted, seed):
    """`wanted` cases that really happen, of each call and each fault about as many, or all of them; prints a line for each of these."""
    if reason := why_not():
        print(f"skipped: {reason}", flush=True)
        return Counter(skipped=1)
    rng, groups = random.Random(seed), defaultdict(list)
    runs = [(kind, begun) for kind in worlds.kinds for begun in (True, False)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for run, found in zip(runs, pool.map(lambda run: points(worlds, *run), runs)):
            for point in found:
                groups[point[:2]].append((*run, *point))
        each = -(-wanted // len(groups)) if wanted else None
        print(f"seed {seed}: {each or 'all'} of each of {len(groups)}, of {sum(map(len, groups.values()))} cases", flush=True)
        in_turns(groups, each, rng)
        figures = dict(zip(groups, pool.map(lambda cases: until(worlds, cases, each), groups.values())))
    for (call, fault), found in figures.items():
        keys = ("injected", "kills", "errors", "survived", "absent", *met(found), *WRONG, *(kind for kind in worlds.kinds if found[kind]))
        kill_loop.proof("syscalls", f"{call},{fault}", {k: found[k] for k in keys})
    return seldom(sum(figures.values(), Counter()))


def in_turns(groups, each, rng):
    """Sorts the cases of each call and fault, of which `each` are taken: each kind in turn, since some make many more calls than others. First that which
    has met the call least, whatever the fault, and then that which was taken least."""
    taken, met_by, everybody = Counter(), Counter(), {kind for cases in groups.values() for kind, *_ in cases}
    # Calls that all kinds make come last: they are for those that make no others.
    for (call, _), cases in sorted(groups.items(), key=lambda group: len({kind for kind, *_ in group[1]})):
        rng.shuffle(cases)
        kinds = list(dict.fromkeys(kind for kind, *_ in cases))
        by_call = len(kinds) < len(everybody)
        kinds.sort(key=lambda kind: (by_call and met_by[call, kind], taken[kind]))
        taken.update(kinds[:each])
        met_by.update((call, kind) for kind in kinds[:each])
        turns = Counter()
        cases.sort(key=lambda case: (turns.update([case[0]]), (turns[case[0]], kinds.index(case[0])))[1])


def until(worlds, cases, each):
    """Cases until `each` have happened, of those that are there; a call may not come a second time where it came first, and then another case of its kind
    takes its turn."""
    figures, left = Counter(), cases[: each and 10 * each]
    while left and not (each and figures["injected"] >= each):
        case = left.pop(0)
        found = tried(inject, worlds, *case)
        figures += found
        figures[case[0]] += found["injected"]
        if not found["injected"] and (again := next((other for other in left if other[0] == case[0]), None)):
            left.remove(again)
            left.insert(0, again)
    return figures


def inject(worlds, kind, begun, call, fault, number, options=ORDERED):
    """One case: its figures."""
    figures = Found(f"{kind}, {'begun' if begun else 'empty'}: {call} number {number} with {fault}")
    with worlds.world(kind, begun, options) as target, tempfile.TemporaryDirectory(prefix="landfall-strace-") as place:
        log = Path(place, "log")
        how = "signal=SIGKILL" if fault == KILL else f"error={fault}"
        calls = {call} if fault == KILL else {call, "fsync", "renameat2", "rename"}
        proc = target.start(traced(calls, log, f"{call}:{how}:when={number}"))
        missed = lambda at: not all(is_about(call, rest, target.folder) for rest in at.values())
        told = 0

        def hopeless():
            """One whose wake-up fails may sleep for ever. And libpq, told of a reset as it sends, waits for the last words of the server: none come where
            only the call was told so, and so the server ends the connection too."""
            nonlocal told
            at = Log(log).injected() if fault != KILL else {}
            lost = sum(f":{target.server.port}]>" in rest for rest in at.values()) if kind == "adbc-postgres" and call == "sendto" else 0
            if lost > told:
                told = lost
                target.disconnect()
            return missed(at)

        code, said = ended(proc, hopeless=hopeless)
        log = Log(log)
        at = log.injected()
        if fault == KILL and code == -9:
            figures["injected"] += 1
            figures["kills"] += 1
        elif not at or missed(at):
            # Fewer calls than before; or a wake-up, which cannot fail.
            figures["absent"] += 1
            if not at and code:
                figures.ended_badly(code, said, "nothing was done to it, and it")
            return figures
        else:
            figures["injected"] += 1
            # A database that cannot read a page of its own may take it for damaged; the next one reads it.
            unread = call in ("read", "pread64") and kind in ("duckdb", "sqlite")
            if "panicked" in said or code not in (0, *CLEAN, *((CORRUPT,) if unread else ())):
                figures.ended_badly(code, said)
            elif code:
                figures["errors"] += 1
                if not said.startswith("error: "):
                    figures.bad("failed", f"not an error of its own: {said}")
            else:
                # Tried again, or of no importance: then nothing is missing.
                figures["survived"] += 1
                figures.compare(worlds.truth, target, "although it ended well")
            if fault in ("EIO", "ENOSPC") and call == "fsync":
                believed(log, min(at), target, figures.bad)
        figures.twice(worlds.truth, target)
        figures.next_run(worlds.truth, target, target.start())
    return figures


def believed(log, at, target, bad):
    """What a sync failed to keep is really lost now, as the system may lose it: a file that has no name yet gets one never; the last name in a
    folder goes. Only of files that are ours: what a database does is for the database."""
    path = re.match(r"\d+<(.*?)>", log.calls[at][2])
    path = Path(path[1]) if path else None
    later = [rest for _, name, rest in log.calls[at + 1 :] if name in ("renameat2", "rename") and succeeded(rest)]
    if path is None or "orders.duckdb" in path.name or "orders.sqlite" in path.name:
        return
    if ".landfall-tmp" in path.parts:
        if any(f'"{path}"' in rest for rest in later):
            bad("believed", "a file that could not be synced got its name")
        if path.exists():
            os.truncate(path, 0)
        return
    before = [rest for _, name, rest in log.calls[:at] if name == "renameat2" and succeeded(rest) and "RENAME_NOREPLACE" in rest]
    named = [Path(re.findall(r'"(.*?)"', rest)[1]) for rest in before]
    if named and named[-1].parent == path and named[-1].exists():
        named[-1].unlink()
    roots = [target.folder / "state", target.folder / "orders", target.folder / "tables"]
    root = next((r for r in roots if path.is_relative_to(r)), None)
    if root and any(f'"{root}/' in rest for rest in later):
        bad("believed", f"files got names in a store of which a folder could not be synced: {path}")


def succeeded(rest):
    return rest.rstrip().endswith("= 0")
