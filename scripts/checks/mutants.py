"""Mutation testing with one build: `cargo mutants` names the mutants, here each becomes a switch in a copy of the crate, and an
environment variable turns one on. So a mutant costs a run of tests and no compilation.

A mutant that does not compile as a switch is left out, and counted as `skipped`.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREE = Path(os.environ["LANDFALL_MUTANTS_TREE"])
FEATURES = ["--no-default-features", "--features", "testkit object-store"]
LEAST = 95.0
# Seconds that the tests of one mutant may take; a mutant that takes longer is caught, as with `cargo mutants`.
TIMEOUT = int(os.environ.get("LANDFALL_MUTANTS_TIMEOUT", "300"))

# The modules of commit, fence and collection, and the tests of the library that stand next to each.
MODULES = {
    "chain": (["src/checkpoint/chain/*.rs"], ["checkpoint::chain::"]),
    "landing": (
        [f"src/landing/{name}.rs" for name in ("retention", "vacuum", "manifest", "writer")],
        ["landing::"],
    ),
    "load": (["src/pipeline/load/*.rs", "src/pipeline/epoch.rs", "src/pipeline/open.rs"], ["pipeline::"]),
    "sink": (["src/sink/mod.rs", "src/sink/disposition.rs", "src/sink/memory.rs"], ["sink::"]),
}
# The model decides by the same functions, but explores millions of states: last, and only for what others have missed.
MODEL = "checkpoint::chain::tests::model::every_state_keeps_the_promise"


def masked(text):
    """The text with the content of strings, characters and comments blanked, at the same places."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|r#*".*?"#*|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", "_", m.group()), text)


@functools.cache
class File:
    """A file as it was when this run began."""

    def __init__(self, path):
        self.text = (ROOT / path).read_text()
        self.masked = masked(self.text)
        self.lines = [0]
        for line in self.text.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def at(self, place):
        return self.lines[place["line"] - 1] + place["column"] - 1

    def span(self, span):
        return self.at(span["start"]), self.at(span["end"])


OPEN, CLOSE = "([{", ")]}"
WORDS = r"(?:return|if|while|match|in|else|break|let|move)\b"
LOGIC = {"&&": [r"\|\|"], "||": []}
COMPARE = ["==", "!=", "<", ">", "<=", ">="]
SUM = ["+", "-"]
PRODUCT = ["*", "/", "%"]


def stops(operator, forward):
    """What ends the operand of an operator, outside of all brackets."""
    end = [r"=>", r";", r","]
    if forward:
        end += [r"\{", r"\belse\b"]
    else:
        end += [WORDS, r"(?<![=!<>+\-*/|&^])=(?![=>])", r"(?<!\|)\|(?!\|)", r"[+\-*/|&^]="]
    if operator == "||":
        return end + ([r"\|\|"] if forward else [])
    end.append(r"\|\|")
    if operator == "&&":
        return end + ([r"&&"] if forward else [])
    end.append(r"&&")
    if operator in COMPARE:
        return end
    end += [r"==", r"!=", r"<=", r">=", r"(?<![-=])[<>](?!=)", r"\.\."]
    if operator in SUM:
        return end + ([r"(?<=\s)[+\-](?=\s)"] if forward else [])
    return end + [r"(?<=\s)[+\-](?=\s)"] + ([r"(?<=\s)[*/%](?=\s)"] if forward else [])


def operand(text, at, operator, forward):
    """Where the operand ends (or begins) that lies next to `at`."""
    end = re.compile("|".join(stops(operator, forward)))
    depth = 0
    step = 1 if forward else -1
    index = at if forward else at - 1
    while 0 <= index < len(text):
        c = text[index]
        if c in (OPEN if forward else CLOSE) and not (depth == 0 and c in "{}"):
            depth += 1
        elif c in (CLOSE if forward else OPEN):
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and c in "{}":
            break
        if depth == 0:
            found = end.match(text, index)
            if found and (forward or found.end() <= at):
                index = index if forward else found.end()
                return index
        index += step
    return index if forward else index + 1


def on(number):
    return f"crate::mutant({number})"


class Switches:
    """Edits of one file: switched expressions, and insertions. An insertion belongs to what it stands before (`inner`), or it
    stands outside of every expression that begins or ends there."""

    def __init__(self, file):
        self.file = file
        self.regions = {}
        self.outer, self.inner = {}, {}

    def insert(self, at, text, inner=False):
        where = self.inner if inner else self.outer
        where[at] = where.get(at, "") + text

    def binary(self, number, span, replacement):
        start, end = span
        text = self.file.masked
        operator = text[start:end]
        if operator.endswith("=") and operator not in COMPARE:
            left = operand(text, start, ";", False)
            right = text.index(";", end)
        else:
            left = operand(text, start, operator, False)
            right = operand(text, end, operator, True)
        while text[left].isspace():
            left += 1
        while text[right - 1].isspace():
            right -= 1
        self.regions.setdefault((left, right, start, end), []).append((number, replacement))

    def render(self, start, end, skip=(), operand=False):
        regions = [r for r in self.regions if start <= r[0] and r[1] <= end and r not in skip]
        out, at = [], start
        while True:
            # The outermost expression that begins next.
            first = min((r for r in regions if r[0] >= at), key=lambda r: (r[0], -r[1]), default=None)
            until = first[0] if first else end
            for mark in range(at, until):
                outside = "" if operand and mark == start else self.outer.get(mark, "")
                out.append(outside + self.inner.get(mark, "") + self.file.text[mark])
            if first is None:
                return "".join(out)
            if not (operand and until == start):
                out.append(self.outer.get(until, ""))
            same = [r for r in regions if r[:2] == first[:2]]
            out.append(self.switched(first, skip=(*skip, *same)))
            at = first[1]

    def switched(self, region, skip):
        left, right, start, end = region
        a, b = self.render(left, start, skip, True), self.render(end, right, skip, True)
        operator = self.file.text[start:end]
        text = f"{a}{operator}{b}"
        for number, replacement in reversed(self.regions[region]):
            text = f"if {on(number)} {{ {a}{replacement}{b} }} else {{ {text} }}"
        return f"({text})" if not (operator.endswith("=") and operator not in COMPARE) else text


def write(mutants, left_out):
    """Writes the tree with a switch for each mutant; returns those that have one."""
    files, made = {}, []
    for number, mutant in enumerate(mutants, 1):
        if number in left_out:
            continue
        file = files.setdefault(mutant["file"], Switches(File(mutant["file"])))
        span = file.file.span(mutant["span"])
        text = file.file.masked
        genre, replacement = mutant["genre"], mutant["replacement"]
        if genre == "FnValue":
            file.insert(span[0], f"if {on(number)} {{ return {replacement}; }} ")
        elif genre == "BinaryOperator":
            file.binary(number, span, replacement)
        elif genre == "UnaryOperator" and text[span[0]] == "!":
            file.insert(span[0], f"{on(number)} ^ ", inner=True)
        elif genre == "MatchArmGuard":
            file.insert(span[0], f"{on(number)} || (" if replacement == "true" else f"!{on(number)} && (")
            file.insert(span[1], ")")
        elif genre == "MatchArm":
            arrow = operand(text, span[0], ";", True)
            guard = re.search(r"\bif\b", text[span[0] : arrow])
            if guard:
                file.insert(span[0] + guard.end(), f" !{on(number)} && (")
                file.insert(arrow, ") ")
            else:
                file.insert(arrow, f"if !{on(number)} ")
        else:
            continue
        made.append(number)
    for path, file in files.items():
        (TREE / path).write_text(file.render(0, len(file.file.text)))
    library = File("src/lib.rs").text
    (TREE / "src/lib.rs").write_text(
        "#![allow(warnings, clippy::all)]\n"
        + library
        + """
#[doc(hidden)]
pub(crate) fn mutant(number: u32) -> bool {
    static ON: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    number == *ON.get_or_init(|| std::env::var("LANDFALL_MUTANT").ok().and_then(|n| n.parse().ok()).unwrap_or(0))
}
"""
    )
    return made


def build():
    """Builds the tests; gives the executables, or the places of what does not compile."""
    command = ["cargo", "test", "--locked", *FEATURES, "--lib", "--test", "pipeline", "--no-run", "--message-format", "json"]
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True)
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


def named(places):
    """The mutants whose switches do not compile: the nearest before each place in its line, else all of the line."""
    found = set()
    for path, line, column in places:
        text = (TREE / path).read_text().splitlines()[line - 1] if (TREE / path).exists() else ""
        switch = r"crate::mutant\((\d+)\)"
        before = re.findall(switch, text[: column - 1])
        found |= {int(n) for n in before[-1:] or re.findall(switch, text)}
    return found


def run(executable, mutant, arguments):
    """Whether the tests pass."""
    environment = {**os.environ, "LANDFALL_MUTANT": str(mutant), "RUST_BACKTRACE": "0"}
    try:
        # Where the manifest is: tests read fixtures.
        done = subprocess.run(
            [executable, "-q", *arguments], cwd=TREE, env=environment, capture_output=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main():
    names = sys.argv[1:] or list(MODULES)
    if TREE.exists():
        shutil.rmtree(TREE)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in filter(None, listed.split("\0")):
        if (ROOT / path).is_file():
            (TREE / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, TREE / path)
    mutants, of = [], []
    for name in names:
        globs = [argument for glob in MODULES[name][0] for argument in ("--file", glob)]
        command = ["cargo", "mutants", "--list", "--json", *globs]
        found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for mutant in found:
            line = (ROOT / mutant["file"]).read_text().splitlines()[mutant["span"]["start"]["line"] - 1]
            column = mutant["span"]["start"]["column"] - 1
            # Switches of the paired defects are no rules.
            if re.match(r"(&& |\|\| )?!?on\(Defect", line[column:]):
                continue
            text = File(mutant["file"]).text[slice(*File(mutant["file"]).span(mutant["span"]))]
            what = "the body" if mutant["genre"] == "FnValue" else " ".join(text.split())[:60]
            place = f"{mutant['file']}:{mutant['span']['start']['line']}: {(mutant['function'] or {}).get('function_name', 'constant')}"
            mutant["name"] = f"{place}: {what} -> {mutant['replacement'] or 'nothing'}"
            mutants.append(mutant)
            of.append(name)
    print(f"{len(mutants)} mutants in {', '.join(names)}", flush=True)
    left_out = set()
    while True:
        made = write(mutants, left_out)
        executables, errors = build()
        if not errors:
            break
        unfit = named(errors) - left_out
        if not unfit:
            sys.exit(f"the tree does not compile: {errors[:5]}")
        print(f"{len(unfit)} do not compile as switches", flush=True)
        left_out |= unfit
    for name in sorted(set(of)):
        if not run(executables["landfall"], 0, [*MODULES[name][1], "--skip", MODEL]):
            sys.exit(f"the tests of {name} fail without a mutant")

    def verdict(number):
        began = time.monotonic()
        own = MODULES[of[number - 1]][1]
        others = [test for _, tests in MODULES.values() for test in tests if test not in own]
        stages = [
            ("landfall", [*own, "--skip", "tests::model"]),
            ("landfall", [*others, "--skip", "tests::model"]),
            ("pipeline", []),
            ("landfall", [MODEL, "--exact"]),
        ]
        missed = all(run(executables[which], number, arguments) for which, arguments in stages)
        mutant = mutants[number - 1]
        print(f"{'MISSED' if missed else 'caught'} {time.monotonic() - began:4.0f} s {mutant['name']}", flush=True)
        return missed

    with ThreadPoolExecutor(int(os.environ.get("LANDFALL_MUTANTS_JOBS", "1"))) as pool:
        missed = [number for number, bad in zip(made, pool.map(verdict, made)) if bad]
    for name in names:
        all_of = [n for n in made if of[n - 1] == name]
        bad = [n for n in missed if of[n - 1] == name]
        print(f"{name}: {len(all_of) - len(bad)} of {len(all_of)} caught")
    print(f"without a switch: {Counter(m['genre'] for n, m in enumerate(mutants, 1) if n not in made)}")
    for number in missed:
        print(f"MISSED {mutants[number - 1]['name']}")
    caught = len(made) - len(missed)
    percent = 100 * caught / max(len(made), 1)
    print(
        f"proof suite=mutants of={'+'.join(names)} modules={len(names)} mutants={len(made)} "
        f"skipped={len(mutants) - len(made)} caught={caught} percent={percent:.1f}"
    )
    sys.exit(percent < LEAST)


main()
