"""Does each sink meet what the proof demands of it, where few cases are taken of many?"""

import os
import random
import tempfile
import unittest
from collections import Counter
from unittest import mock

# Nothing is run from there.
os.environ.setdefault("CARGO_TARGET_DIR", tempfile.gettempdir())
os.environ.setdefault("LANDFALL_CACHE", tempfile.gettempdir())

import process_syscalls
import prove
from process_worlds import KINDS

EACH = 3
ON_DISK = {kind for kind in KINDS if "s3" not in kind}
IN_FILES = {"duckdb", "sqlite"}


def makes(kind, call):
    """As they do: messages to PostgreSQL are sent by one call, and those to the API and to S3 by another."""
    if call in ("writev", "recvfrom"):
        return True
    if call == "sendto":
        return "postgres" in kind
    return kind in (IN_FILES if call in ("pwrite64", "pread64") else ON_DISK)


def groups(rng):
    """Cases of all calls, of which some make a hundred times as many as others."""
    number = {kind: rng.choice((5, 50)) for kind in KINDS}
    return {
        (call, fault): [(kind, True, call, fault, n) for kind in KINDS if makes(kind, call) for n in range(number[kind])]
        for call, faults in process_syscalls.FAULTS.items()
        for fault in (process_syscalls.KILL, *faults)
    }


class Turns(unittest.TestCase):
    def test_each_kind_meets_what_it_does(self):
        for seed in range(20):
            rng = random.Random(seed)
            cases = groups(rng)
            process_syscalls.in_turns(cases, EACH, rng)
            met = {(call, kind) for (call, _), of in cases.items() for kind, *_ in of[:EACH]}
            for calls, kinds in prove.MET.items():
                self.assertEqual([kind for kind in kinds if not any((call, kind) in met for call in calls)], [], f"{calls}, seed {seed}")
            self.assertEqual({kind for _, kind in met}, set(KINDS))
            # Who does nothing else is told of a failure there too.
            for of in (of for (call, _), of in cases.items() if call == "writev"):
                self.assertEqual({kind for kind, *_ in of[:EACH]}, set(KINDS) - ON_DISK)

    def test_a_case_that_does_not_come_is_followed_by_another_of_its_kind(self):
        ran = []

        def inject(worlds, kind, number):
            ran.append((kind, number))
            return Counter(absent=1) if (kind, number) in (("a", 1), ("a", 2), ("b", 3)) else Counter(injected=1)

        cases = [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3), ("a", 4)]
        with mock.patch.object(process_syscalls, "inject", inject):
            self.assertEqual(process_syscalls.until(None, cases, EACH), {"absent": 2, "injected": 3, "a": 1, "b": 1, "c": 1})
            self.assertEqual(ran, [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1)])
            ran.clear()
            # All that there are.
            process_syscalls.until(None, cases, None)
            self.assertEqual(sorted(ran), sorted(cases))


if __name__ == "__main__":
    unittest.main()
