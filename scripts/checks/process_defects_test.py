"""Is a defect caught only by what is not there without it?"""

import contextlib
import io
import os
import tempfile
import unittest
from collections import Counter
from types import SimpleNamespace
from unittest import mock

# Nothing is run from there.
os.environ.setdefault("CARGO_TARGET_DIR", tempfile.gettempdir())
os.environ.setdefault("LANDFALL_CACHE", tempfile.gettempdir())

import process_defects
import process_syscalls

DEFECTS = {"ADefect": ("parquet", ("rename",), process_defects.KILL, process_defects.LEFT)}


def figures(broken, sound=None):
    """What is found if a case finds this with the defect, and that without it."""

    def inject(worlds, kind, begun, call, fault, number, options=process_syscalls.ORDERED):
        found = (broken if "--defect" in options else sound)(number)
        return Counter(found)

    points = [("rename", process_defects.KILL, number) for number in (1, 2, 3)]
    suite = mock.patch.multiple(process_syscalls, inject=inject, points=lambda *_: points, why_not=lambda: None)
    with suite, mock.patch.object(process_defects, "DEFECTS", DEFECTS), contextlib.redirect_stdout(io.StringIO()) as said:
        found = process_defects.defects(SimpleNamespace(kinds=["parquet"]), None, 1)
    return dict(found), said.getvalue()


class Caught(unittest.TestCase):
    def test_what_the_defect_alone_shows_is(self):
        found, said = figures(lambda number: {"lost": number == 2}, lambda number: {"kills": 1})
        self.assertEqual(found, {"defects": 1, "caught": 1})
        self.assertIn("rename number 2", said)

    def test_what_is_there_without_it_is_not(self):
        found, said = figures(lambda number: {"failed": 1}, lambda number: {"believed": 1})
        self.assertEqual(found, {"defects": 1, "failed": 1})
        self.assertIn("NO SIGN OF IT: believed without it", said)

    def test_what_no_case_shows_is_not(self):
        found, said = figures(lambda number: {"kills": 1})
        self.assertEqual(found, {"defects": 1, "failed": 1})
        self.assertIn("NOT SEEN in 3 runs", said)

    def test_an_error_of_the_suite_is_no_sign(self):
        def error(number):
            raise ConnectionError

        with self.assertRaises(ConnectionError):
            figures(error)


if __name__ == "__main__":
    unittest.main()
