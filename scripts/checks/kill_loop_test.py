"""Is each end of a run told from the others, also of one beside another?"""

import contextlib
import io
import os
import random
import subprocess
import tempfile
import unittest
from collections import Counter
from types import SimpleNamespace
from unittest import mock

# Nothing is run from there.
os.environ.setdefault("CARGO_TARGET_DIR", tempfile.gettempdir())
os.environ.setdefault("LANDFALL_CACHE", tempfile.gettempdir())

import kill_loop
from harness import CORRUPT, FENCED

GONE = "error: stage rows: the rows that were staged are gone: another instance has taken over, or somebody dropped the table"
WELL = (0, "")
# One that goes on until it is killed, and one that ends when it is waited for.
GOES_ON, DIES = "exec sleep 600", "read line; exit 4"


class Target:
    """Runs that end, one after the other, as they are told: with a code and words, or as a command does."""

    forgiven, outrun, damage = (4,), (FENCED,), None

    def __init__(self, runs, server):
        self.runs, self.restart = iter(runs), self.once if server else None

    def once(self):
        """The server dies, and comes again."""
        self.restart = None

    def start(self):
        run = next(self.runs)
        command = run if isinstance(run, str) else f"echo '{run[1]}' >&2; exit {run[0]}"
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        proc = subprocess.Popen(["sh", "-c", command], text=True, **pipes)
        if command is not run:
            proc.wait()
        return proc

    def ids(self):
        return []

    def partial(self):
        return None


def figures(*runs, server=False):
    """What comes of these runs, of which one is killed. The first and the last are alone, the others two at a time."""
    drawn = SimpleNamespace(random=lambda: 0, randint=min, uniform=min)
    answers = mock.patch.multiple(
        kill_loop,
        fetch=lambda *_: b'{"records": 0, "orders": 0, "bad": 0}',
        Truth=lambda api: None,
        compare=lambda truth, target: Counter(),
    )
    with contextlib.redirect_stdout(io.StringIO()), answers, mock.patch.object(random, "Random", lambda seed: drawn):
        return kill_loop.loop(1, 0, "", Target([WELL, *runs, WELL], server))


class Ends(unittest.TestCase):
    def test_a_rival_that_has_ended_is_looked_at(self):
        for end, failed in ((WELL, 0), ((FENCED, ""), 0), ((4, GONE), 0), ((4, "no answer"), 1), ((CORRUPT, ""), 1), ((10, ""), 1), ((101, ""), 1), (GOES_ON, 0)):
            found = figures(GOES_ON, end)
            self.assertEqual((found["kills"], found["rivals"], found["failed"]), (1, 1, failed), end)

    def test_one_beside_a_rival_may_be_outrun(self):
        for end, failed in ((WELL, 0), ((FENCED, ""), 0), ((4, GONE), 0), ((4, "no answer"), 1), ((1, GONE), 1), ((10, ""), 1)):
            self.assertEqual(figures(end, GOES_ON, GOES_ON, GOES_ON)["failed"], failed, end)

    def test_both_may_end_as_the_server_dies(self):
        for end, ended, failed in (((4, "no answer"), 2, 0), ((10, ""), 1, 1)):
            found = figures(DIES, end, GOES_ON, GOES_ON, server=True)
            self.assertEqual((found["server_kills"], found["ended"], found["failed"]), (1, ended, failed), end)


if __name__ == "__main__":
    unittest.main()
