"""Is a file that a kill has damaged told from one that is damaged for no reason, and loaded again? And is one noticed that does not end?"""

import contextlib
import functools
import io
import os
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from unittest import mock

# Nothing is run from there.
os.environ.setdefault("CARGO_TARGET_DIR", tempfile.gettempdir())
os.environ.setdefault("LANDFALL_CACHE", tempfile.gettempdir())

import process_worlds
from harness import CORRUPT
from targets import Damaged

TELLS = "error: Corrupt database file: computed checksum 1 does not match 2; docs/adbc.md says how to go on"


class Truth:
    right, bad = {"a": {"id": "a"}}, set()


class Target:
    """A file that cannot be read until it is begun again, and what the processes say that load into it."""

    def __init__(self, ends=CORRUPT, says=TELLS, damaged=True):
        self.ends, self.says, self.damaged = ends, says, damaged

    def start(self):
        code, says = (self.ends, self.says) if self.damaged else (0, "")
        command = [sys.executable, "-c", f"import sys; sys.stderr.write({says!r}); sys.exit({code})"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def begin_again(self):
        self.damaged = False

    def ids(self):
        if self.damaged:
            raise Damaged("Corrupt database file")
        return ["a"]

    def partial(self):
        return 0


class Hanging(Target):
    """One whose next run does not end."""

    def start(self):
        return subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def found(target, **figures):
    """What is found at a target after a process of which these figures are known."""
    # What was served is compared elsewhere.
    compared = mock.patch.object(process_worlds.kill_loop, "compare", lambda truth, target: Counter(lost=target.ids() != ["a"]))
    with contextlib.redirect_stdout(io.StringIO()), compared:
        case = process_worlds.Found("a case")
        case.update(figures)
        case.twice(Truth, target)
        case.next_run(Truth, target, target.start())
    return {figure: n for figure, n in case.items() if n}


class Damage(unittest.TestCase):
    def test_what_a_kill_has_left_is_loaded_again(self):
        self.assertEqual(found(Target(), kills=1), {"kills": 1, "met": 1})

    def test_nothing_is_begun_again_where_nothing_is_damaged(self):
        self.assertEqual(found(Target(damaged=False), kills=1), {"kills": 1})

    def test_damage_without_a_kill_is_not_forgiven(self):
        with self.assertRaises(Damaged):
            found(Target(), errors=1)

    def test_the_next_run_says_what_it_meets_and_where_one_reads_how_to_go_on(self):
        for ends, says in ((1, TELLS), (CORRUPT, "Corrupt database file"), (CORRUPT, "docs/adbc.md"), (0, "")):
            self.assertEqual(found(Target(ends, says), kills=1), {"kills": 1, "met": 1, "failed": 1})

    def test_a_next_run_that_does_not_end_has_failed(self):
        soon = functools.partial(process_worlds.ended, patience=0.2)
        with mock.patch.object(process_worlds, "ended", soon):
            self.assertEqual(found(Hanging(damaged=False)), {"failed": 1})

    def test_more_than_one_is_not_seldom(self):
        for met, kills, failed in ((0, 0, 0), (1, 40, 0), (2, 40, 2), (2, 500, 0), (3, 999, 3)):
            with contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(process_worlds.seldom(Counter(met=met, kills=kills))["failed"], failed)

    def test_a_line_says_how_many_if_there_were_any(self):
        self.assertEqual([process_worlds.met(Counter(met=n)) for n in (0, 2)], [(), ("met",)])


if __name__ == "__main__":
    unittest.main()
