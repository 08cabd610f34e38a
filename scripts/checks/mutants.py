"""mutants.py [--only TEXT] [--again FILE] [MODULE...]: mutation testing with one build. `cargo mutants` names the mutants, here each
becomes a switch in a copy of the crate, and an environment variable turns one on. So a mutant costs a run of tests and no compilation.

Each test is run once alone, to see which switches it reaches; a mutant gets the tests that reach it, quick ones first, until one fails.
A mutant that does not compile as a switch is left out, and counted as `skipped`. `--again FILE` takes over what FILE, an output of this, says
was caught or skipped. `--only TEXT` tries those whose line contains the text.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants_switches import ROOT, TREE, File, closing, copy, unfit, write

FEATURES = ["--no-default-features", "--features", "testkit object-store delta"]
LEAST = 95.0
JOBS = int(os.environ.get("LANDFALL_MUTANTS_JOBS", "1"))
# Bytes of memory for a run of tests: some mutants never stop to collect.
MEMORY = 8 << 30

# The modules of commit, fence and collection.
MODULES = {
    "chain": ["src/checkpoint/chain/*.rs", "src/checkpoint/record.rs", "src/store/probe.rs"],
    "objects": ["src/checkpoint/objects/*.rs", "src/checkpoint/memory.rs"],
    "landing": [f"src/landing/{name}.rs" for name in ("retention", "vacuum", "manifest", "writer")],
    "load": ["src/pipeline/load/*.rs", "src/pipeline/epoch.rs", "src/pipeline/open.rs", "src/model/ledger.rs"],
    "sink": ["src/sink/mod.rs", "src/sink/disposition/*.rs", "src/sink/memory.rs"],
    "tables": ["src/sink/tables/*.rs"],
    "quarantine": ["src/sink/quarantine/*.rs"],
    "parquet": [f"src/connectors/parquet/{name}.rs" for name in ("commit", "dataset", "log", "state", "vacuum")],
    "delta": [f"src/connectors/delta/{name}.rs" for name in ("commit", "mark", "log", "own", "pending", "staged", "retention", "vacuum")],
}
# Mutants that change nothing that can be seen, and why.
EQUIVALENT = {
    "src/pipeline/load/running.rs: Running::load_given: + -> *": "how far stages run ahead is a matter of speed",
    "src/pipeline/load/running.rs: Running::finish: && -> ||": "no stages, or stages that are given nothing, change nothing",
    "src/sink/mod.rs: decide_commit: > -> >= (2)": "equal epochs are told apart before",
    "src/checkpoint/objects/mod.rs: StoreCheckpoints::newest_step: > -> >=": "a listing that names the anchor leads to the same step",
    "src/checkpoint/objects/mod.rs: StoreCheckpoints::newest_step: < -> <=": "a step takes the place of an equal one",
    "src/connectors/parquet/dataset.rs: <impl Sink for ParquetDataset>::demand: the body -> Default::default()": "it says no more than the default",
    "src/connectors/parquet/state.rs: ShardState::newest_compaction: the body -> 0": "what begins below the newest goes on from what is there",
    "src/connectors/parquet/vacuum.rs: ParquetDataset::show: present.contains(file.path.as_str()) -> true": "what is shown has its name, and a second one may go at any time",
    "src/connectors/delta/commit.rs: DeltaTable::change: !whole -> true": "an epoch that makes an enumeration whole has no rows",
    "src/connectors/delta/commit.rs: DeltaTable::change: !whole -> true (2)": "the same, of versions",
    "src/connectors/delta/log.rs: Snapshot::complete_partitions: < -> <=": "a file with as many values as there are columns has all of them",
    "src/connectors/delta/log.rs: Log::newest: > -> >= (2)": "the same checkpoint is read once more",
    "src/connectors/delta/log.rs: Log::write_checkpoint: < -> <=": "the hint to the same version is written again",
    "src/connectors/delta/mark.rs: pack: | -> ^": "its low bits are zero",
    "src/connectors/delta/mark.rs: pack: | -> ^ (2)": "its lowest bit is zero",
    "src/connectors/delta/log.rs: Log::first_after: > -> >=": "it is asked of a version that is not there",
    "src/sink/memory.rs: <impl Sink for MemorySink<I>>::config: the body -> Ok(Default::default())": "it says no more than the default",
}


def defects(file):
    """Where a paired defect is, in place of a rule: `if on(Defect::…) … { … }`."""
    for found in re.finditer(r"\bif on\(Defect::\w+\)[^{;]*\{", file.masked):
        yield found.start(), closing(file.masked, found.end())


def listed(modules):
    """The mutants of the modules, each with its name: that of its place without the line, so that it stays the same."""
    mutants = []
    for module in modules:
        globs = [argument for glob in MODULES[module] for argument in ("--file", glob)]
        command = ["cargo", "mutants", "--list", "--json", *globs]
        seen = Counter()
        for mutant in json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout):
            file, start = File(mutant["file"]), mutant["span"]["start"]
            # Switches of the paired defects are no rules, nor is what they do.
            at = file.at(start)
            if re.match(r"(&& |\|\| )?!?on\(Defect", file.text[at:]) or any(first < at < last for first, last in defects(file)):
                continue
            what = "the body" if mutant["genre"] == "FnValue" else " ".join(file.text[slice(*file.span(mutant["span"]))].split())[:60]
            function = (mutant["function"] or {}).get("function_name", "constant")
            name = f"{mutant['file']}: {function}: {what} -> {mutant['replacement'] or 'nothing'}"
            seen[name] += 1
            name += f" ({seen[name]})" if seen[name] > 1 else ""
            mutants.append({**mutant, "module": module, "name": name, "line": start["line"]})
    return mutants


def build(*targets):
    """Builds tests; gives the executables, or the places of what does not compile."""
    command = ["cargo", "test", "--locked", *FEATURES, *targets, "--no-run", "--message-format", "json"]
    # Thousands of runs are worth a longer compilation.
    optimised = {**os.environ, "CARGO_PROFILE_TEST_OPT_LEVEL": "1"}
    done = subprocess.run(command, cwd=TREE, env=optimised, capture_output=True, text=True)
    executables, errors = {}, []
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message.get("executable"):
            executables[message["target"]["name"]] = message["executable"]
        if message["reason"] == "compiler-message" and message["message"]["level"] == "error":
            spans = [span for span in message["message"]["spans"] if span["is_primary"]]
            errors += [(s["file_name"], s["line_start"], s["column_start"]) for s in spans]
    if done.returncode and not errors:
        sys.exit(done.stderr[-4000:])
    return executables, errors if done.returncode else []


def compiled(mutants, left_out):
    """Builds the tree with as many switches as compile; gives their numbers and the executables."""
    while True:
        made = write(mutants, left_out)
        # The library alone fails sooner.
        _, errors = build("--lib")
        if not errors:
            executables, errors = build("--lib", "--test", "pipeline")
        if not errors:
            return made, executables
        more = unfit(errors, left_out)
        if not more:
            sys.exit(f"the tree does not compile, and not for a switch: {errors[:5]}")
        print(f"{len(more)} do not compile as switches", flush=True)
        left_out |= more


def run(executable, arguments, seconds, **environment):
    """The test that fails, or what else goes wrong; nothing if all pass."""
    child = subprocess.Popen(
        [executable, *arguments],
        cwd=TREE,  # Tests read fixtures.
        env={**os.environ, "RUST_BACKTRACE": "0", "RUST_TEST_THREADS": "2", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    late = threading.Timer(seconds, child.kill)
    late.start()
    with child:
        for line in child.stdout:
            failed = re.match(r"test (\S+).* \.\.\. FAILED", line)
            if failed:
                child.kill()
                late.cancel()
                return failed[1]
    late.cancel()
    return None if child.returncode == 0 else "no end" if child.returncode == -9 else f"exit {child.returncode}"


def reached(executables):
    """Runs each test alone: which tests reach each mutant, as (seconds, executable, test), quick ones first."""
    tests = []
    for executable in executables.values():
        names = subprocess.run([executable, "--list", "--format", "terse"], cwd=TREE, capture_output=True, text=True, check=True)
        tests += [(executable, line.removesuffix(": test")) for line in names.stdout.splitlines() if line.endswith(": test")]
    by = {}

    def alone(test):
        executable, name = test
        with tempfile.NamedTemporaryFile("r") as log:
            began = time.monotonic()
            wrong = run(executable, ["--exact", name], 300, LANDFALL_MUTANTS_REACHED=log.name)
            if wrong:
                sys.exit(f"{name} fails without a mutant: {wrong}")
            return [(int(number), (time.monotonic() - began, *test)) for number in log]

    with ThreadPoolExecutor(JOBS) as pool:
        for seen in pool.map(alone, tests):
            for number, test in seen:
                by.setdefault(number, []).append(test)
    print(f"{len(tests)} tests", flush=True)
    return {number: sorted(these) for number, these in by.items()}


def caught_by(number, tests):
    """The test that notices the mutant."""
    bounds = [0, 0.2, 2, float("inf")]
    for least, most in zip(bounds, bounds[1:]):
        some = [test for test in tests if least <= test[0] < most]
        for executable in dict.fromkeys(test[1] for test in some):
            those = [(seconds, name) for seconds, where, name in some if where == executable]
            patience = 10 + 10 * sum(seconds for seconds, _ in those)
            wrong = run(executable, ["--exact", *(name for _, name in those)], patience, LANDFALL_MUTANT=str(number))
            if wrong:
                return wrong
    return None


def earlier(path):
    """What an earlier output says: the verdict of each name."""
    verdicts = {}
    for line in Path(path).read_text().splitlines() if path else []:
        found = re.match(r"(caught|MISSED|skipped) (.*?) line (\d+)", line)
        if found:
            verdicts[found[2]] = found[1]
    return verdicts


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("modules", nargs="*", metavar="MODULE", help=" ".join(MODULES))
    ap.add_argument("--again", metavar="FILE", help="an output of this: what was caught or skipped there is not run again")
    ap.add_argument("--only", metavar="TEXT", default="", help="mutants whose line contains it")
    a = ap.parse_args()
    mutants = [m for m in listed(a.modules or MODULES) if a.only in m["name"]]
    before = earlier(a.again)
    known = lambda mutant: before.get(mutant["name"])
    print(f"{len(mutants)} mutants", flush=True)
    stale = [name for name in EQUIVALENT if name.split(":")[0] in {m["file"] for m in mutants} and name not in {m["name"] for m in mutants}]
    if stale and not a.only:
        sys.exit(f"no longer there, of the list of equivalent mutants: {stale}")
    left_out = {n for n, m in enumerate(mutants, 1) if m["name"] in EQUIVALENT or known(m) == "skipped"}
    copy()
    made, executables = compiled(mutants, left_out)
    for number, mutant in enumerate(mutants, 1):
        if number not in made and mutant["name"] not in EQUIVALENT:
            print(f"skipped {mutant['name']} line {mutant['line']}, switch {number}")
    tests = reached(executables)
    verdicts = {n: "equivalent" if m["name"] in EQUIVALENT else "skipped" for n, m in enumerate(mutants, 1)}

    def verdict(number):
        mutant, began = mutants[number - 1], time.monotonic()
        by = "an earlier run" if known(mutant) == "caught" else caught_by(number, tests.get(number, []))
        verdicts[number] = "caught" if by else "MISSED"
        how = f"by {by}" if by else f"by {len(tests.get(number, []))} tests"
        print(f"{verdicts[number]} {mutant['name']} line {mutant['line']}, {time.monotonic() - began:.1f} s, {how}, switch {number}", flush=True)

    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(verdict, made))
    for number, mutant in enumerate(mutants, 1):
        if verdicts[number] == "MISSED":
            print(f"MISSED {mutant['name']} line {mutant['line']}, switch {number}")
    short = False
    for module in dict.fromkeys(m["module"] for m in mutants):
        sums = Counter(verdicts[n] for n, m in enumerate(mutants, 1) if m["module"] == module)
        run_here = sums["caught"] + sums["MISSED"]
        percent = 100 * sums["caught"] / max(run_here, 1)
        short |= percent < LEAST
        print(
            f"proof suite=mutants of={module} mutants={run_here} caught={sums['caught']} skipped={sums['skipped']} "
            f"equivalent={sums['equivalent']} percent={percent:.1f}"
        )
    sys.exit(short)


main()
