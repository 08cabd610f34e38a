"""Is it noticed that the tables of a set hold what they may not?"""

import unittest

from table_sets import apart

ONE, TWO, NONE = {"1": [("a", "x")]}, {"2": [("b", "y"), ("c", "z")]}, {"2": []}


class Apart(unittest.TestCase):
    def test_tables_that_hold_the_same_are_not(self):
        for both in ({}, ONE, {**ONE, **TWO}, {**ONE, **NONE}):
            self.assertEqual(apart(both, dict(both)), [])

    def test_the_newest_load_may_be_in_the_first_alone(self):
        self.assertEqual(apart(ONE, {}), [])
        self.assertEqual(apart({**ONE, **TWO}, ONE), [])
        self.assertEqual(apart({**ONE, **NONE}, ONE), [])

    def test_never_in_the_second_alone(self):
        self.assertEqual(apart({}, ONE), ["1"])
        self.assertEqual(apart(ONE, {**ONE, **TWO}), ["2"])

    def test_no_older_one_nor_two(self):
        self.assertEqual(apart({**ONE, **TWO}, TWO), ["1"])
        self.assertEqual(apart({**ONE, **TWO}, {}), ["1"])

    def test_rows_of_a_load_that_differ(self):
        self.assertEqual(apart({**ONE, **TWO}, {**ONE, **NONE}), ["2"])
        self.assertEqual(apart(ONE, {"1": [("a", "other")]}), ["1"])


if __name__ == "__main__":
    unittest.main()
