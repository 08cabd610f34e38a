"""Is it counted what the processes beside a load have done?"""

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

# Nothing is run from there.
os.environ.setdefault("CARGO_TARGET_DIR", tempfile.gettempdir())
os.environ.setdefault("LANDFALL_CACHE", tempfile.gettempdir())

import targets

DID, NOTHING = "echo 'Compacted { files_before: 3, rows: 9 }'", "echo 'Compacted { files_before: 0, rows: 0 }'"


def kept_up(does, waits=True):
    """The figures of a table whose first compaction does this, and is waited for or not."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        program = Path(folder, "warehouses")
        program.write_text(f"#!/bin/sh\n[ $1 = load ] && exit\n{does}\n")
        program.chmod(0o755)
        with mock.patch.object(targets, "TARGET", Path(folder)):
            target = targets.IntoDeltaKeptUp(folder).serve("")
            target.start().communicate()
            if waits:
                target.upkeep[1].wait()
            return dict(target.end())


class Upkeep(unittest.TestCase):
    def test_what_it_has_done_is_counted(self):
        self.assertEqual(kept_up(DID), {"compact": 1, "checkpoint": 0, "failed": 0})
        self.assertEqual(kept_up(NOTHING), {"compact": 0, "checkpoint": 0, "failed": 0})

    def test_it_may_be_killed_and_try_again(self):
        for does, waits in (("exec sleep 600", False), ("exit 4", True)):
            self.assertEqual(kept_up(does, waits), {"compact": 0, "checkpoint": 0, "failed": 0})

    def test_any_other_end_is_a_failure(self):
        for code in (1, 7, 8, 10, 101):
            self.assertEqual(kept_up(f"exit {code}")["failed"], 1, code)


if __name__ == "__main__":
    unittest.main()
