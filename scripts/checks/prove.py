"""prove.py [--long] [--only SUITE,SUITE]: runs the suites of the proof, sums the lines `proof suite=<suite> of=<what> key=number ...` that they print,
and compares the sums with the figures to reach. The last line has the figures; the exit status is 0 only if all of them are reached."""

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Tests of cargo; and those that `scripts/stores` has run on the server that it names.
RESULT = re.compile(r"test result: ok\. (\d+) passed|^(\w+): (\d+) checks passed")
# Tests that did nothing, for want of something that a run of the proof has. Stores of real clouds it has not.
IDLE = re.compile(r"test result: ok\. 0 passed|^\w+: 0 checks passed|(?:^|[.iF])skipped(?: for [^:]*)?: (?!\w+ names no store)")
LINE = re.compile(r'proof suite=(\w+) of=("[^"]*"|\S+)((?: \S+=\S+)*)')
# What the promise names: these must be 0 in all suites.
PROMISE = ("lost", "doubled", "corrupt", "invented", "partial")
# And what else may not be.
WRONG = (*PROMISE, "wrong", "failed", "believed", "crashes")
# What a suite says of what went wrong in the middle of it, by how such a line begins.
TELLING = re.compile(rf"seed |differs: |({'|'.join(WRONG)}): |FAILED|run \d+ failed|the \w+ run failed|after kill |damage |thread '.*' .*panicked|error")
# Lines that are shown of a suite that failed: the last ones, and as many of those that tell what went wrong before.
SHOWN = 100

# Every sink and store of the tree, by the names that the suites print: with a fault at every operation in every way.
WHOLE = {
    "one shard", "three shards", "a response in parts", "collection", "parquet", "parquet, two shards", "delta", "delta, upsert", "tables",
    "parquet, put together", "replayable source", "one landing, two loads", "delta append", "parquet on s3", "parquet on local files", "postgres append, checkpoints too", "postgres append, with children", "adbc duckdb append",
    "adbc sqlite append",
}  # fmt: skip
# The ways in which each of them goes wrong: it dies or stands still, or is told nothing or of a failure and lives on.
MODES = {"single": {"Before", "AfterLostResponse", "Torn", "Pause"}, "answers": {"LostResponse", "Fail"}}
# So many of these ways there are at each operation, at least.
WAYS = {"single": 2, "answers": 1}
# These are among them at every operation, whatever it does.
ALWAYS = {"single": {"Before", "Pause"}, "answers": {"Fail"}}
# Seconds that the step `single` may take, of all sinks and stores in one way; in a night there are more shapes in it.
SECONDS = 180
# And whose server dies, before and after each request.
DYING = {"s3, a server that dies"}
# More shapes: at each n-th operation, and at every one in a night.
SAMPLED = {
    "one shard, odd answers", "parquet, odd answers", "delta, odd answers", "delta, put together", "parquet, a new column", "delta, a new column", "delta upsert", "delta replace", "delta upsert, with children", "postgres upsert, checkpoints too",
    "postgres append", "postgres replace", "postgres upsert, with children", "adbc duckdb upsert", "adbc duckdb replace", "adbc sqlite replace",
}  # fmt: skip
# At each n-th operation always: a driver that waits for who stands still needs minutes for a schedule.
SLOW = {"adbc postgres append", "adbc postgres replace"}
KILLED = {
    "parquet,local,ingest", "postgres", "postgres-tables", "adbc-postgres", "parquet,postgres", "delta,postgres", "delta,local", "delta,local,upsert", "tables,local", "duckdb",
    "sqlite", "delta,s3", "parquet,s3",
}  # fmt: skip
# And so many of those for whom a reader takes minutes.
FEW_KILLS = {"tables,s3": 20}
# Those whose server is killed too, three times in ten.
KILLED_SERVERS = {kind for kind in KILLED if "postgres" in kind}
# Those that can damage their own file, and are loaded again from what was landed.
DAMAGED = {"duckdb"}
# Those beside which others put files together and write checkpoints.
KEPT_UP = {"delta,local", "delta,local,upsert", "delta,s3"}
# Those whose rows do not name their load, or are replaced: no reader can see that a part of it is missing.
UNNAMED = {"parquet,local,ingest", "parquet,postgres", "parquet,s3", "delta,local,upsert"}
PROCESSES = {
    "parquet", "delta", "tables", "postgres", "postgres-tables", "adbc-postgres", "duckdb", "sqlite", "parquet,postgres", "delta,postgres", "parquet,s3", "delta,s3",
    "tables,s3",
}  # fmt: skip
# Sinks over servers and files of which some pairs are tried each time.
PAIRED = {"delta append", "postgres append, checkpoints too", "adbc duckdb append", "adbc sqlite append"}
# How those may end that were stopped; also where files of a database make the others wait for them.
WOKEN = ("fenced", "gone", "done")
# Of some hundred zombies, over all sinks: many find that others have done what they had begun.
FENCED = 9
# Defects of commits into databases, each where it can be.
OF_DATABASES = {
    *(f"MarkIsApart, {database}" for database in ("postgres", "adbc duckdb", "adbc sqlite", "adbc postgres")),
    *(f"{defect}, {database}" for defect in ("LostCommitIsFailure", "LostCommitIsSuccess") for database in ("postgres", "adbc postgres")),
    "MarkIsNotLocked, postgres", "ChildrenAreNotLocked, postgres",
}  # fmt: skip
# Tests of single rules, contracts and connectors: there are more, so that one may go.
TESTS = 2_500
# A server of others on which the contract of stores is tried: without one, these tests pass and do nothing.
STORES = {"s3"}
SYSTEM_CALLS = {f"{call},{fault}" for call in ("fsync", "write", "renameat2") for fault in ("EIO", "ENOSPC", "KILL")} | {"sendto,KILL", "sendto,ECONNRESET"}
# Of these calls each of these sinks has met one, whatever became of it.
MET = {
    ("fsync",): {kind for kind in PROCESSES if "s3" not in kind},
    ("rename", "renameat2"): {kind for kind in PROCESSES if "s3" not in kind},
    ("sendto", "writev"): {kind for kind in PROCESSES if "postgres" in kind or "s3" in kind},
    ("pwrite64",): {"duckdb", "sqlite"},
}
LIMITS = {"disk", "disk,server", "store", "readonly", "files", "length", "length,kills", "memory"}
# Decisions of the protocol that the model bends.
MUTATIONS = 33
# Defects that are switched on in random days, and in processes; and the ways in which a disk lies.
DEFECTS_OF_DAYS, DEFECTS_OF_PROCESSES, LIES = 21, 8, 2
# One is noticed in processes alone.
OF_PROCESSES = {"FailedSyncIsIgnored"}
# No world is so small that it has fewer operations.
POINTS = 20


def known_defects():
    """Those of the table in docs/testing.md, which a test compares with the code."""
    return set(re.findall(r"^\| I\d+ .*? \| `(\w+)`", (ROOT / "docs/testing.md").read_text(), re.M))


def mutated():
    """The modules of commit, fence and collection that `scripts/mutants` changes."""
    return set(re.findall(r'^    "(\w+)": \[', (ROOT / "scripts/checks/mutants.py").read_text(), re.M))


class Proof:
    """What the suites have printed, and how long they took."""

    def __init__(self):
        self.of = defaultdict(lambda: defaultdict(Counter))
        self.seconds = Counter()
        # The steps in which a thing was sampled, the smallest if it was run more than once: 1 is all of it.
        self.every = defaultdict(dict)
        # Those of which the line with the smallest step has enough single faults, of each suite.
        self.enough = defaultdict(set)

    def read(self, line):
        found = LINE.search(line)
        if not found:
            return False
        suite, of = found[1], found[2].strip('"')
        figures, pairs = self.of[suite][of], [pair.split("=", 1) for pair in found[3].split()]
        if suite in MODES:
            line = Counter({key: int(value) for key, value in pairs if value.isdigit()})
            if 0 < line["every"] <= self.every[suite].get(of, line["every"]):
                enough = line["points"] >= POINTS and (line["schedules"] + line["unmet"]) * line["every"] >= WAYS[suite] * line["points"]
                if of in WHOLE and line["every"] == 1:
                    # Where each history differs, a tenth may be left out.
                    most = line["points"] - min(line["unmet"], line["points"] // 10)
                    enough &= all(line[mode] >= most for mode in ALWAYS[suite])
                (self.enough[suite].add if enough else self.enough[suite].discard)(of)
        for key, value in pairs:
            if key == "every":
                self.every[suite][of] = min(int(value), self.every[suite].get(of, int(value)))
            elif value.isdigit():
                figures[key] += int(value)
        return True

    def sum(self, suite, key):
        return sum(figures[key] for figures in self.of[suite].values())

    def wrong(self):
        """Everything that must be 0 and is not."""
        sums = {key: sum(self.sum(suite, key) for suite in self.of) for key in WRONG}
        return {key: n for key, n in sums.items() if n}

    def lacks(self, suite, names, key, least=1):
        """Those of the names of which less was run."""
        return sorted(name for name in names if self.of[suite][name][key] < least)

    def silent(self, suite, keys=("lost", "doubled"), but=()):
        """Those that do not say how much of these they have seen."""
        return sorted(name for name, figures in self.of[suite].items() if name not in but and not set(keys) <= figures.keys())

    def saying(self, suite, key):
        """Those that say how much of this they have seen."""
        return {name for name, figures in self.of[suite].items() if key in figures}

    def spared(self):
        """The sinks that have met none of the calls of which each of them must have met one, by these calls."""
        met = defaultdict(set)
        for of, figures in self.of["syscalls"].items():
            met[of.partition(",")[0]] |= {kind for kind in PROCESSES if figures[kind]}
        return {calls: sorted(kinds - set().union(*(met[call] for call in calls))) for calls, kinds in MET.items()}

    def thin(self, suite):
        """Those with fewer single faults than there must be: at each operation that is taken, a process can die and stand still, and can be told of
        a failure."""
        return sorted(name for name in self.of[suite] if name not in self.enough[suite])

    def schedules(self):
        """Histories with at least one fault, of all suites."""
        counted = {"simulation": "seeds", "kills": "kills", "syscalls": "injected", "zombies": "zombies", "servers": "stops", "limits": "runs", "disk": "images"}
        suites = sum(self.sum(suite, "schedules") for suite in self.of if suite not in counted)
        return suites + sum(self.sum(suite, key) for suite, key in counted.items())


class Figure:
    """A row of the table: what is to be reached, what was run, and what is missing of it, in words."""

    def __init__(self, suite, wanted, ran, missing=()):
        self.suite, self.wanted, self.ran = suite, wanted, ran
        self.missing = [what for what in missing if what]


def less(n, wanted):
    return f"{wanted - n} are missing" if n < wanted else None


def names(lacking, what="missing"):
    return f"{what}: {'; '.join(lacking)}" if lacking else None


# How much of each suite is run: (on each change, in a night).
AMOUNTS = {
    # Those of two crashes: others come with them.
    "pairs": (2_000, 100_000),
    "simulation": (200, 10_000),
    # Of these days, so many over a real connection to an API.
    "simulation over http": (40, 1_000),
    "disk": (4_000, 200_000),
    "kills": (100, 3_000),
    "fuzz": (60, 900),
}


def figures(proof, long):
    """The table, a row for each suite."""
    amount = {suite: both[long] for suite, both in AMOUNTS.items()}
    total = proof.sum
    whole, sampled = (WHOLE | SAMPLED, SLOW) if long else (WHOLE, SAMPLED | SLOW)
    sampled_too = lambda suite: names([name for name in sorted(whole) if proof.every[suite].get(name, 1) > 1], "not whole")
    # A world over a server may do other work each time: some faults are met by no try.
    unmet = lambda suite: f", {total(suite, 'unmet')} unmet" if total(suite, "unmet") else ""
    never = lambda suite: [names(proof.lacks(suite, WHOLE, mode), f"never {mode} in") for mode in sorted(MODES[suite])]
    silent = lambda suite: names(proof.silent(suite), "nothing of lost and doubled for")
    promised = lambda suite, but=(): names(proof.silent(suite, PROMISE, but), "not all of what is promised for")
    decoders = {folder.name for folder in (ROOT / "fuzz/corpus").iterdir()}
    caught, defects = total("defects", "caught"), len(proof.of["defects"])
    seen = {of.partition(", ")[0] for of in proof.of["defects"]}
    mutations = total("model", "mutations")
    mutants = {name: of["caught"] / max(of["mutants"], 1) for name, of in proof.of["mutants"].items()}
    return [
        Figure("single", f"every operation, every crash: {len(whole)} sinks and stores{'' if long else f' in {SECONDS} s'}, {len(sampled)} more sampled",
               f"{total('single', 'schedules')} schedules of {len(proof.of['single'])}{unmet('single')}, each sink and store in one way in {proof.seconds['single']:.0f} s",
               [not long and proof.seconds["single"] > SECONDS and f"it took more than {SECONDS} s: machines differ, and other work disturbs it", names(proof.lacks("single", whole | sampled | DYING, "schedules")), sampled_too("single"), names(proof.thin("single"), "too few of"), promised("single"), *never("single")]),
        Figure("answers", "every operation fails, and loses its answer",
               f"{total('answers', 'schedules')} schedules of {len(proof.of['answers'])}{unmet('answers')}",
               [names(proof.lacks("answers", whole, "schedules")), sampled_too("answers"), names(proof.thin("answers"), "too few of"), promised("answers"), *never("answers")]),
        Figure("pairs", f"{amount['pairs']} pairs of crashes", f"{total('pairs', 'double_crashes')}, and {total('pairs', 'schedules') - total('pairs', 'double_crashes')} other pairs of faults",
               [less(total("pairs", "double_crashes"), amount["pairs"]), names(proof.lacks("pairs", PAIRED, "schedules"), "none of"), promised("pairs")]),
        Figure("simulation", f"{amount['simulation']} random days; defects in them noticed",
               f"{total('simulation', 'seeds')} seeds, {total('simulation', 'hours')} hours, {total('simulation', 'caught')} of {total('simulation', 'defects')} defects",
               [less(proof.of["simulation"]["seeds"]["seeds"], amount["simulation"]), less(proof.of["simulation"]["http"]["seeds"], amount["simulation over http"]),
                not total("simulation", "caught") == total("simulation", "defects") >= DEFECTS_OF_DAYS and "defects that were not noticed", promised("simulation", {"defects"})]),
        Figure("disk", f"{amount['disk']} losses of power, lying disks noticed",
               f"{total('disk', 'images')} images, {total('disk', 'caught')} of {total('disk', 'lies')} lies",
               [less(total("disk", "images"), amount["disk"]), not total("disk", "caught") == total("disk", "lies") >= LIES and "lies that were believed", promised("disk", {"lies"}),
                total("disk", "recovered") * 20 < total("disk", "images") and "too few images were recovered"]),
        Figure("model", "every state, at least 10⁶; every mutation caught",
               f"{total('model', 'states')} states, {total('model', 'caught')} of {mutations} mutations",
               [less(total("model", "states"), 1_000_000), not total("model", "caught") == mutations >= MUTATIONS and "mutations that were not noticed"]),
        Figure("defects", "all caught, at least 25", f"{caught} of {defects}",
               [less(len(seen), 25), names(sorted(known_defects() - OF_PROCESSES - seen), "not tried"), names(sorted(OF_DATABASES - proof.of["defects"].keys()), "not tried"), names(proof.lacks("defects", proof.of["defects"], "caught"), "not caught")]),
        Figure("connector", "one of others, whole; a broken commit noticed",
               f"{total('connector', 'schedules')} schedules", [names(proof.lacks("connector", {"sqlite"}, "schedules", 2 * POINTS), "too few of"), not total("connector", "broken_commit_noticed") and "the broken commit was not noticed", promised("connector")]),
        Figure("tests", "rules, contracts and connectors, each by itself", f"{total('tests', 'passed')} tests passed",
               [less(total("tests", "passed"), TESTS), names(proof.lacks("tests", STORES, "passed"), "none on")]),
        Figure("kills", f"{amount['kills']} kill -9 of each of {len(KILLED)}",
               f"{total('kills', 'kills')} of {len(proof.of['kills'])}",
               [names(proof.lacks("kills", KILLED, "kills", amount["kills"]), "fewer of"),
                *(names(proof.lacks("kills", {name}, "kills", few), "fewer of") for name, few in FEW_KILLS.items()), names(proof.lacks("kills", KILLED, "rivals"), "never two at once in"),
                names(proof.lacks("kills", KILLED_SERVERS, "server_kills"), "no server killed under"), silent("kills"), names(proof.lacks("kills", DAMAGED, "damaged"), "no damaged file of"), *(names(proof.lacks("kills", KEPT_UP, what), f"no {what} beside") for what in ("compact", "checkpoint")), names(sorted({*KILLED, *FEW_KILLS} - UNNAMED - proof.saying("kills", "partial")), "nobody looked for parts in")]),
        Figure("syscalls", "system calls that fail or kill, each sink", f"{total('syscalls', 'injected')} of {len(proof.of['syscalls'])}",
               [names(proof.lacks("syscalls", SYSTEM_CALLS, "injected"), "none of"), *(names(kinds, f"no {' or '.join(calls)} in") for calls, kinds in proof.spared().items()), silent("syscalls")]),
        Figure("processes", "defects in real processes noticed", f"{total('processes', 'caught')} of {total('processes', 'defects')}",
               [not total("processes", "caught") == total("processes", "defects") >= DEFECTS_OF_PROCESSES and "defects that were not noticed"]),
        Figure("zombies", "stopped and overtaken, each sink; fenced",
               f"{total('zombies', 'zombies')}, {total('zombies', 'fenced')} fenced",
               [names(proof.lacks("zombies", PROCESSES, "zombies"), "none of"), names(sorted(kind for kind in PROCESSES if not sum(proof.of["zombies"][kind][end] for end in WOKEN)), "none woken of"),
                less(total("zombies", "fenced"), FENCED), silent("zombies")]),
        Figure("limits", "disk, store, files, memory: each, each sink on it", f"{total('limits', 'runs')}",
               [names(proof.lacks("limits", LIMITS, "runs"), "none of"), names(sorted(kind for kind in PROCESSES if not total("limits", kind)), "none in"), silent("limits")]),
        Figure("servers", "standing still, each kind", f"{total('servers', 'stops')}",
               [names(proof.lacks("servers", {kind for kind in PROCESSES if "postgres" in kind or "s3" in kind}, "stops"), "none of"), silent("servers")]),
        Figure("fuzz", f"{amount['fuzz']} s for each of {len(decoders)} decoders", f"{total('fuzz', 'runs')} inputs for {len(proof.of['fuzz'])}",
               [names(proof.lacks("fuzz", decoders, "runs"), "none for"), names(proof.lacks("fuzz", decoders, "seconds", amount["fuzz"]), "shorter for")]),
        *([Figure("mutants", "95 % of each module caught", f"{total('mutants', 'caught')} of {total('mutants', 'mutants')}",
                  [names(sorted(mutated() - mutants.keys()), "none of"), names(sorted(name for name, part in mutants.items() if part < 0.95), "fewer of"),
                   names(sorted(name for name, of in proof.of["mutants"].items() if of["skipped"] > of["mutants"]), "more skipped than tried of")])] if long else []),
    ]  # fmt: skip


def cargo(*test, filter=()):
    return ["cargo", "test", "--locked", "--quiet", "--all-features", *test, "--", "--nocapture", *filter]


SERVERS = ("scripts/with-postgres", "scripts/with-adbc")
TESTED = ("pipeline", "warehouses", "postgres", "adbc", "stores", "http", "secrets", "documents", "layers", "downstream", "compile_fail")
# Those that are suites of their own.
HISTORIES = ("--skip", "histories::")


def commands(long):
    """What is run, in an order that shows failures early: the suites it is for, the command, and how much of it. One step comes after the other; in
    a step, what stands in one list runs one after the other, and the lists beside each other, since they wait for servers, or for time to pass."""
    amount = {suite: str(both[long]) for suite, both in AMOUNTS.items()}
    # Twelve shapes make as many pairs, and some fewer; seven in ten are of two crashes.
    each = str(AMOUNTS["pairs"][long] // 7)
    # Every change meets the same days and pairs, every night others.
    night = int(time.time()) // 86_400
    days = {"LANDFALL_SIMULATION_FIRST": str(night * AMOUNTS["simulation"][1])} if long else {}
    drawn = {"LANDFALL_SCHEDULES_SEED": str(night)} if long else {}
    in_warehouses = lambda *filter: [*SERVERS, *cargo("--test", "warehouses", filter=["--test-threads=4", *filter])]
    every, none = {"LANDFALL_SCHEDULES_EVERY": "1"}, {"LANDFALL_SCHEDULES_EVERY": "1000000"}
    at_night = every if long else {}

    def enumerations(suite, modes):
        """Each sink and store; in a night in every shape."""
        which = {"LANDFALL_MODES": modes}
        fewer = [] if long else ["--skip", "more::", "--skip", "sampled::"]
        return [
            [(suite, cargo("--test", "crash", filter=fewer), {**which, **at_night})],
            [(suite, cargo("--test", "stores", filter=["survive" if long else "s3_survives"]), {**which, **every})],
            [(suite, in_warehouses("survive" if long else "append_survives"), {**which, **every})],
        ]

    more = [
        ("single", cargo("--test", "crash", filter=["more::"]), {"LANDFALL_MODES": "crashes"}),
        ("answers", cargo("--test", "crash", filter=["more::"]), {"LANDFALL_MODES": "answers"}),
        ("single", cargo("--test", "stores", filter=["local_files"]), {**every, "LANDFALL_MODES": "crashes"}),
        ("answers", cargo("--test", "stores", filter=["local_files"]), {**every, "LANDFALL_MODES": "answers"}),
        ("single", cargo("--test", "crash", filter=["sampled::"]), {"LANDFALL_SCHEDULES_PAIRS": "0"}),
        ("single,pairs", in_warehouses("survive", "--skip", "append_survives"), {}),
    ]

    return [
        [[
            ("defects", [*SERVERS, *cargo("--test", "defects", "--test", "warehouses", "--test", "postgres", filter=["defect", "the_table_of_the_documents"])], {}),
            ("model", cargo("--lib", filter=["chain::tests::model"]), {"LANDFALL_MODEL": "long" if long else "short"}),
        ]],
        enumerations("single", "crashes"),
        enumerations("answers", "answers"),
        [
            [
                *([] if long else more),
                ("single", cargo("--test", "stores", filter=["a_server_that_dies"]), every),
                ("pairs", in_warehouses("survive" if long else "append_survives"), {**none, **drawn, "LANDFALL_SCHEDULES_PAIRS": "200" if long else "8"}),
                ("connector", ["scripts/connector"], {}),
            ],
            [
                ("pairs", cargo("--test", "crash"), {**none, **drawn, "LANDFALL_SCHEDULES_PAIRS": each}),
                ("simulation,disk", cargo("--test", "simulation"), {"LANDFALL_SIMULATION_SEEDS": amount["simulation"], "LANDFALL_DISK_IMAGES": amount["disk"], **days}),
                ("simulation", cargo("--test", "http", filter=["seeds_over_http"]), {"LANDFALL_SIMULATION_HTTP": amount["simulation over http"], **days}),
            ],
        ],
        [
            [
                ("kills", ["scripts/kill-loop", amount["kills"]], {}),
                ("kills", ["scripts/warehouses", amount["kills"], "--store", "s3", "--only", "kills"], {}),
                ("syscalls,processes,zombies,limits,servers", ["scripts/processes", *(["--long"] if long else [])], {}),
                # A rule that is gone may have no history in which it is missed: then its own test misses it.
                ("tests", [*SERVERS, *cargo("--lib"), "--skip", "chain::tests::model"], {}),
                ("tests", [*SERVERS, *cargo(*(arg for binary in TESTED for arg in ("--test", binary))), *HISTORIES], at_night),
                ("tests", ["scripts/stores", "0", "--only", "s3"], {}),
            ],
            [("fuzz", ["scripts/fuzz", amount["fuzz"]], {}), *([("mutants", ["scripts/mutants"], {})] if long else [])],
        ],
    ]  # fmt: skip


# Histories are five times as fast with this, which only the tests of the library are not worth: compiled with it, they take ten minutes.
OPTIMISED = {"CARGO_PROFILE_DEV_OPT_LEVEL": "1", "CARGO_PROFILE_TEST_OPT_LEVEL": "1"}


def environment_of(command):
    return {**os.environ, **({} if "--lib" in command else OPTIMISED)}


# Figures of time are those of the suites, not of the compiler.
BUILDS = (
    ["cargo", "test", "--locked", "--quiet", "--all-features", "--test", "*", "--no-run"],
    ["cargo", "test", "--locked", "--quiet", "--all-features", "--lib", "--no-run"],
    ["cargo", "build", "--locked", "--quiet", "--all-features", "--examples"],
    ["scripts/fuzz", "--build"],
)


def of_its_suite(line, suites):
    """Single faults do not know which of the two suites they are for."""
    return line.replace("suite=single ", "suite=answers ") if suites == "answers" else line


# Seconds without a word of a command, and in a night: it stands still then, is ended, and has failed.
PATIENCE = (1_800, 14_400)
# So many it has then to end its servers.
GRACE = 30
# Those that run, each in a group with what it started.
running, stopping, starting = set(), threading.Event(), threading.Lock()


def start(command, environment):
    """Starts a command, if no end is called for."""
    with starting:
        if stopping.is_set():
            return None
        ran = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        running.add(ran)
        return ran


def end(ran):
    """Ends a command and its group; what stands still does not hear the first word."""
    running.discard(ran)
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(ran.pid, how)
            ran.wait(GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def run(proof, suites, command, environment, patience):
    """Runs a suite; whether it ended well, in so many seconds. What it says besides figures is shown only if it does not."""
    said, told = deque(), []
    try:
        ran = start(command, {**environment_of(command), **environment})
    except FileNotFoundError:
        print(f"  there is no {command[0]}", flush=True)
        return False
    if ran is None:
        return False
    heard, ended = [time.monotonic()], threading.Event()

    def wait():
        """Until it has ended, or has said nothing for so long."""
        while not ended.wait(max(heard[0] + patience - time.monotonic(), 0)):
            if time.monotonic() >= heard[0] + patience:
                return end(ran)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    with ran:
        for line in (of_its_suite(line, suites) for line in ran.stdout):
            heard[0] = time.monotonic()
            if suites == "tests":
                # Samples of other suites are among them.
                if passed := RESULT.search(line):
                    proof.of["tests"][passed[2] or "all"]["passed"] += int(passed[1] or passed[3])
                if IDLE.search(line):
                    proof.of["tests"]["all"]["failed"] += 1
                    print(f"  nothing was tested: {line.strip()}", flush=True)
            elif proof.read(line):
                print("  " + line[line.index("proof ") + 6 :].rstrip(), flush=True)
                continue
            said.append(line.rstrip())
            if len(said) > SHOWN and TELLING.match(first := said.popleft()) and len(told) < SHOWN:
                told.append(first)
    late = time.monotonic() >= heard[0] + patience
    ended.set()
    waiting.join()
    well = ran in running and ran.returncode == 0
    running.discard(ran)
    if not well:
        print("\n".join(f"  | {line}" for line in [*told, *said]), flush=True)
        print(f"  {command[0]} {f'was ended after {patience} s without a word' if late else f'exits with {ran.returncode}'}", flush=True)
    return well


def shown(proof, broken, only, long):
    """Prints the table; gives what is missed."""
    missed = [f"{key}={n}" for key, n in proof.wrong().items()] + [f"{suite} failed" for suite in broken]
    print(f"\n{'suite':<11} {'figure to reach':<60} what was run")
    for figure in figures(proof, long):
        if only and figure.suite not in only:
            continue
        missing = figure.missing if proof.of[figure.suite] else ["nothing was run"]
        print(f"{figure.suite:<11} {figure.wanted:<60} {figure.ran}")
        for what in missing:
            print(f"{'':<11} MISSED: {what}")
        missed += [f"{figure.suite}: {what}" for what in missing]
    return missed


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--long", action="store_true", help="for a night")
    ap.add_argument("--only", default="", help="some of the suites: the others are not looked at then")
    a = ap.parse_args()
    proof, broken, began = Proof(), [], time.monotonic()
    known = [figure.suite for figure in figures(Proof(), a.long)]
    only = set(filter(None, a.only.split(",")))
    if unknown := only - set(known):
        ap.error(f"no suite {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    # Nor of what is installed. Suites over servers that cannot be had are missing in the end.
    subprocess.run([*SERVERS, "true"], check=False)
    for command in BUILDS:
        if "fuzz" not in command[0] or not only or "fuzz" in only:
            subprocess.run(command, check=True, env=environment_of(command))

    def interrupted(*_):
        """They are in groups of their own, and hear nothing of it."""
        stopping.set()
        with starting:
            ending = list(running)
        for ran in ending:
            end(ran)
        os._exit(130)

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)

    def lane(commands):
        for suites, command, environment in commands:
            if only and not only & set(suites.split(",")):
                continue
            started = time.monotonic()
            print(f"== {suites}: {' '.join([*(f'{k}={v}' for k, v in environment.items()), *command])}", flush=True)
            well = run(proof, suites, command, environment, PATIENCE[a.long])
            if not well:
                broken.append(suites)
            print(f"== {suites}: {'ok' if well else 'FAILED'} ({time.monotonic() - started:.0f} s)", flush=True)

    for step in commands(a.long):
        started = time.monotonic()
        with ThreadPoolExecutor(len(step)) as pool:
            list(pool.map(lane, step))
        # A suite that has a step of its own.
        if len(suites := {suites for lane in step for suites, *_ in lane}) == 1:
            proof.seconds[suites.pop()] = time.monotonic() - started

    missed = shown(proof, broken, only, a.long)
    for what in missed:
        print(f"MISSED: {what}")
    wrong = proof.wrong()
    print(f"{time.monotonic() - began:.0f} s: " + " ".join(f"{key}={wrong.get(key, 0)}" for key in WRONG))
    caught, defects = proof.sum("defects", "caught"), len(proof.of["defects"])
    print(f"schedules={proof.schedules()} lost={wrong.get('lost', 0)} doubled={wrong.get('doubled', 0)} defects_caught={caught}/{defects}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
