"""Mutants as switches: a copy of the crate in which an environment variable turns each of them on.

`LANDFALL_MUTANT=n` turns on mutant n; with `LANDFALL_MUTANTS_REACHED=file` the numbers of the switches that are reached are appended to the file.
"""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TREE = Path(os.environ["LANDFALL_MUTANTS_TREE"])
LIBRARY = """
#[doc(hidden)]
pub(crate) fn mutant(number: u32) -> bool {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    static ON: OnceLock<u32> = OnceLock::new();
    static LOG: OnceLock<Option<std::fs::File>> = OnceLock::new();
    static REACHED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
    let log = LOG.get_or_init(|| {
        let path = std::env::var_os("LANDFALL_MUTANTS_REACHED")?;
        std::fs::OpenOptions::new().append(true).create(true).open(path).ok()
    });
    if let Some(mut log) = log.as_ref() {
        if !REACHED[number as usize].swap(true, Ordering::Relaxed) {
            let _ = log.write_all(format!("{number}\\n").as_bytes());
        }
    }
    number == *ON.get_or_init(|| std::env::var("LANDFALL_MUTANT").ok().and_then(|n| n.parse().ok()).unwrap_or(0))
}
"""


def copy():
    """Copies what belongs to the crate."""
    if TREE.exists():
        shutil.rmtree(TREE)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in filter(None, listed.split("\0")):
        if (ROOT / path).is_file():
            (TREE / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, TREE / path)


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
WORDS = r"\b(?:return|if|while|match|in|else|break|let|move)\b"
COMPARE = ["==", "!=", "<", ">", "<=", ">="]
# Operators by how they bind: the loosest first.
BINDING = ("|",), ("^",), ("&",), ("<<", ">>"), ("+", "-"), ("*", "/", "%")
PRODUCT = ["*", "/", "%"]


def closing(text, at):
    """Where the bracket closes that was opened before `at`."""
    depth = 1
    while depth:
        depth += (text[at] in OPEN) - (text[at] in CLOSE)
        at += 1
    return at


def stops(operator, forward):
    """What ends the operand of an operator, outside of all brackets."""
    end = [r"=>", r";", r","]
    if operator == "=":
        return end
    if forward:
        end += [r"\{", r"\belse\b"]
    else:
        end += [WORDS, r"(?<!:):(?!:)", r"(?<![=!<>+\-*/|&^])=(?![=>])", r"(?<!\|)\|(?!\|)", r"[+\-*/|&^]="]
    if operator == "||":
        return end + ([r"\|\|"] if forward else [])
    end.append(r"\|\|")
    if operator == "&&":
        return end + ([r"&&"] if forward else [])
    end.append(r"&&")
    if operator in COMPARE:
        return end
    end += [r"==", r"!=", r"<=", r">=", r"(?<![-=<>])[<>](?![=<>])", r"\.\."]
    # Of the others those that bind less end it, and those that bind as much, if they come later.
    for others in BINDING:
        stop = rf"(?<=\s)(?:{'|'.join(map(re.escape, others))})(?=\s)"
        if operator in others:
            return end + ([stop] if forward else [])
        end.append(stop)
    return end


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
            right = operand(text, end, "=", True)
        else:
            left = operand(text, start, operator, False)
            right = operand(text, end, operator, True)
        while text[left].isspace():
            left += 1
        while text[right - 1].isspace():
            right -= 1
        self.regions.setdefault((left, right, start, end), []).append((number, replacement))

    def field(self, number, span):
        """A field that is left to the base of its struct: `Struct { field: value, ..base }`."""
        text = self.file.masked
        start, end = span[0], span[0] + len(text[slice(*span)].rstrip(", \n"))
        depth, at = 0, end
        while depth or not text.startswith("..", at):
            depth += (text[at] in OPEN) - (text[at] in CLOSE)
            if depth < 0:
                return False
            at += 1
        closing = operand(text, at + 2, ";", True)
        base = self.file.text[at + 2 : closing].strip()
        name = re.match(r"\w+", text[start:end]).group()
        value = re.match(r"\w+\s*:\s*", text[start:end])
        chosen = f"if {on(number)} {{ ({base}).{name} }} else {{ "
        self.insert(start + value.end() if value else start, chosen if value else f"{name}: {chosen}")
        self.insert(end, " }")
        return True

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
        if operator in ("&&", "||"):
            # Each operand once: of a long condition the text would grow without end.
            [(number, _)] = self.regions[region]
            then, other = (b, on(number)) if operator == "&&" else (f"!{on(number)}", b)
            return f"(if ({a}) ^ {on(number)} {{ {then} }} else {{ {other} }})"
        if re.search(r"\bas \w+\s*$", a):
            a = f"({a})"
        text = f"{a}{operator}{b}"
        for number, replacement in reversed(self.regions[region]):
            text = f"if {on(number)} {{ {a}{replacement}{b} }} else {{ {text} }}"
        return f"({text})" if not (operator.endswith("=") and operator not in COMPARE) else text


def write(mutants, left_out):
    """Writes the tree with a switch for each mutant; returns those that have one."""
    files, made = {}, []
    for number, mutant in enumerate(mutants, 1):
        file = files.setdefault(mutant["file"], Switches(File(mutant["file"])))
        if number in left_out:
            continue
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
        elif genre == "StructField" and file.field(number, span):
            pass
        else:
            continue
        made.append(number)
    for path, file in files.items():
        (TREE / path).write_text(file.render(0, len(file.file.text)))
    library = LIBRARY.replace("COUNT", str(len(mutants) + 1))
    (TREE / "src/lib.rs").write_text("#![allow(warnings, clippy::all)]\n" + File("src/lib.rs").text + library)
    return made


def unfit(places, left_out):
    """The mutants to leave out, since there are errors at these places: the nearest switch before a place in its line, else those of
    the line, of the lines around, of the function, of the file, as soon as there are any that are not left out yet."""
    found = [set() for _ in range(5)]
    for path, line, column in places:
        if not (TREE / path).exists():
            continue
        lines = (TREE / path).read_text().splitlines()
        index = line - 1
        begins = [n for n, text in enumerate(lines) if re.match(r"\s*(pub(\(\w+\))? )?((const|async) )*fn ", text)]
        first = max((n for n in begins if n <= index), default=0)
        last = min((n for n in begins if n > index), default=len(lines))
        switch = r"crate::mutant\((\d+)\)"
        nearest = {int(n) for n in re.findall(switch, lines[index][: column - 1])[-1:]} - left_out
        around = [lines[index : line], lines[max(index - 4, 0) : line + 4], lines[first:last], lines]
        numbers = [{int(n) for n in re.findall(switch, "\n".join(these))} - left_out for these in around]
        for level, these in enumerate([nearest, numbers[0] if not nearest else set(), *numbers[1:]]):
            found[level] |= these
    return next(filter(None, [found[0] | found[1], *found[2:]]), set())
