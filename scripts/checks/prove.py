"""prove.py [--long] [--only SUITE,SUITE]: runs the suites of the proof, sums the lines `proof suite=<suite> of=<what> key=number ...` that they print,
and compares the sums with the figures to reach. The last line has the figures; the exit status is 0 only if all of them are reached."""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict

LINE = re.compile(r'proof suite=(\w+) of=("[^"]*"|\S+)((?: \S+=\S+)*)')
# Figures that must be 0, whatever the suite.
WRONG = ("lost", "doubled", "invented", "corrupt", "partial", "wrong", "failed", "believed", "crashes")
# Sinks and stores that `tests/crash` and `tests/warehouses` go through, and those that real processes are killed over.
SHAPES, KILLED = 10, 8


class Proof:
    """What the suites have printed."""

    def __init__(self):
        self.sums = defaultdict(Counter)
        self.of = defaultdict(dict)

    def read(self, line):
        found = LINE.search(line)
        if not found:
            return False
        suite, of = found[1], found[2].strip('"')
        for pair in found[3].split():
            key, value = pair.split("=", 1)
            if value.isdigit():
                self.sums[suite][key] += int(value)
                self.of[suite].setdefault(of, Counter())[key] += int(value)
        return True

    def least(self, suite, key):
        """Of everything that the suite ran, the one that ran least."""
        return min((figures[key] for figures in self.of[suite].values()), default=0)


def cargo(*test, filter=()):
    return ["cargo", "test", "--locked", "--quiet", "--all-features", *test, "--", "--nocapture", *filter]


def commands(long):
    """What is run, in an order that shows failures early: the suites it is for, the command, and how much of it."""
    several = lambda short, night: str(night if long else short)
    return [
        ("defects", cargo("--test", "defects"), {}),
        ("model", cargo("--lib", filter=["chain::tests::model"]), {"LANDFALL_MODEL": several("short", "long")}),
        ("single,pairs", cargo("--test", "crash"), {"LANDFALL_CRASH_DOUBLES": several(200, 10_000)}),
        ("simulation,disk", cargo("--test", "simulation"),
         {"LANDFALL_SIMULATION_SEEDS": several(200, 10_000), "LANDFALL_DISK_IMAGES": several(4_000, 200_000)}),
        ("warehouses", ["scripts/with-postgres", *cargo("--test", "warehouses", filter=["survives"])],
         {"LANDFALL_WAREHOUSES_EVERY": several(13, 1), "LANDFALL_WAREHOUSES_PAIRS": several(10, 1_000)}),
        ("syscalls", ["scripts/processes", *(["--long"] if long else [])], {}),
        ("kills", ["scripts/kill-loop", several(100, 3_000)], {}),
        ("kills", ["scripts/warehouses", several(100, 3_000), "--store", "s3", "--only", "kills"], {}),
        ("fuzz", ["scripts/fuzz", several(60, 3_600)], {}),
        *([("mutants", ["scripts/mutants"], {})] if long else []),
    ]


def figures(proof, long):
    """Each suite: what it ran, the figure to reach, and whether it did."""
    several = lambda short, night: night if long else short
    sums = proof.sums
    caught, defects = sums["defects"]["caught"], len(proof.of["defects"])
    single = proof.of["single"]
    whole = [of for of, ran in single.items() if ran["every"] <= 1]
    pairs = sums["pairs"]["schedules"]
    mutants, killed = sums["mutants"]["mutants"], sums["mutants"]["caught"]
    wanted = several(2_000, 100_000)
    return [
        ("single", f"{sums['single']['schedules']} schedules, {len(whole)} of {len(single)} sinks and stores whole",
         f"every operation × mode of {SHAPES}, the others sampled", len(whole) >= several(SHAPES, max(SHAPES, len(single)))),
        ("pairs", f"{pairs}", f"{wanted}", pairs >= wanted),
        ("simulation", f"{sums['simulation']['seeds']} seeds, {sums['simulation']['hours']} hours", f"{several(200, 10_000)} seeds",
         sums["simulation"]["seeds"] >= several(200, 10_000)),
        ("disk", f"{sums['disk']['images']} images of a disk after a power loss, {sums['disk']['caught']} of {sums['disk']['lies']} lies caught",
         f"{several(4_000, 200_000)} images", sums["disk"]["images"] >= several(4_000, 200_000) and sums["disk"]["caught"] == sums["disk"]["lies"] > 0),
        ("model", f"{sums['model']['states']} states, {sums['model']['caught']} of {sums['model']['mutations']} mutations caught",
         "all states, 10⁶ or stated", sums["model"]["states"] > 0 and sums["model"]["caught"] == sums["model"]["mutations"] > 0),
        ("defects", f"{caught} of {defects} caught", "all of at least 25", caught == defects >= 25),
        ("kills", f"{sums['kills']['kills']} kills of {len(proof.of['kills'])} sinks and stores, at least {proof.least('kills', 'kills')} each",
         f"{several(100, 3_000)} each of {KILLED}", len(proof.of["kills"]) >= KILLED and proof.least("kills", "kills") >= several(100, 3_000)),
        ("syscalls", f"{sums['syscalls']['injected']} calls of the system failed or killed", "some", sums["syscalls"]["injected"] > 0),
        ("fuzz", f"{sums['fuzz']['runs']} inputs for {len(proof.of['fuzz'])} decoders, {proof.least('fuzz', 'seconds')} s each",
         f"{several(60, 3_600)} s each", proof.least("fuzz", "seconds") >= several(60, 3_600)),
        *([("mutants", f"{killed} of {mutants} caught", "95 % of each module",
            mutants > 0 and all(ran["caught"] >= 0.95 * ran["mutants"] for ran in proof.of["mutants"].values()))] if long else []),
    ]


def run(proof, command, environment):
    """Runs a suite; whether it ended well. What it says is shown only if it does not."""
    said = []
    try:
        ran = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    except FileNotFoundError:
        print(f"  there is no {command[0]}", flush=True)
        return False
    with ran:
        for line in ran.stdout:
            said = [*said[-60:], line.rstrip()]
            if proof.read(line):
                print("  " + line[line.index("proof ") + 6:].rstrip(), flush=True)
    if ran.returncode:
        print("\n".join(f"  | {line}" for line in said), flush=True)
    return ran.returncode == 0


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--long", action="store_true", help="for a night")
    ap.add_argument("--only", default="", help="some of the suites: the others are missing then")
    a = ap.parse_args()
    only, proof, broken, began = a.only.split(",") if a.only else None, Proof(), set(), time.monotonic()
    for suites, command, environment in commands(a.long):
        if only and not set(only) & set(suites.split(",")):
            continue
        started = time.monotonic()
        print(f"== {suites}: {' '.join([*(f'{k}={v}' for k, v in environment.items()), *command])}", flush=True)
        if not run(proof, command, environment):
            broken |= set(suites.split(","))
        print(f"== {suites}: {'FAILED' if suites.split(',')[0] in broken else 'ok'} ({time.monotonic() - started:.0f} s)", flush=True)

    wrong = {key: sum(sums[key] for sums in proof.sums.values()) for key in WRONG}
    missed = [f"{key}={n}" for key, n in wrong.items() if n] + sorted(broken)
    print(f"\n{'suite':<11} {'figure to reach':<48} what was run")
    for suite, ran, wanted, reached in figures(proof, a.long):
        if only and suite not in only:
            continue
        if not proof.sums[suite]:
            ran, reached = "missing", False
        print(f"{suite:<11} {wanted:<48} {ran}{'' if reached else '   MISSED'}")
        missed += [] if reached else [suite]
    if missed:
        print(f"MISSED: {', '.join(dict.fromkeys(missed))}")
    sums = proof.sums
    schedules = sum(sums[suite]["schedules"] for suite in sums) + sums["simulation"]["seeds"] + sums["kills"]["kills"] + sums["syscalls"]["injected"]
    print(f"{time.monotonic() - began:.0f} s")
    print(f"schedules={schedules} lost={wrong['lost']} doubled={wrong['doubled']} defects_caught={sums['defects']['caught']}/{len(proof.of['defects'])}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
