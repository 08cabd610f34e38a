"""Is a process that stands still told from others, and where is each stopped?"""

import os
import signal
import subprocess
import tempfile
import unittest
from types import SimpleNamespace
from unittest import mock

# Nothing is run from there.
os.environ.setdefault("CARGO_TARGET_DIR", tempfile.gettempdir())
os.environ.setdefault("LANDFALL_CACHE", tempfile.gettempdir())

import process_zombies


class StandingStill(unittest.TestCase):
    def test_one_that_is_stopped_does(self):
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as proc:
            self.assertFalse(process_zombies.stands_still(proc.pid))
            proc.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, proc.pid, os.WSTOPPED | os.WNOWAIT)
            self.assertTrue(process_zombies.stands_still(proc.pid))
            proc.kill()

    def test_one_that_ends_while_it_is_looked_at_does_not(self):
        proc = subprocess.Popen(["true"])
        proc.wait()
        with mock.patch.object(process_zombies, "state", lambda *_: "T"):
            self.assertFalse(process_zombies.stands_still(proc.pid))


class Moments(unittest.TestCase):
    def test_each_is_stopped_where_others_see_what_it_did(self):
        target = lambda sink, kind=None, store=None, options=(): SimpleNamespace(sink=sink, kind=kind, store=store, options=options)
        in_database = ["--state", "/state", "--checkpoints-in-database", "--prune"]
        for of, its_own in (
            (target("parquet:/orders"), []),
            (target("parquet:/orders", options=in_database), ["sendto"]),
            (target("adbc-postgres:public.orders"), ["sendto"]),
            (target("duckdb:/orders.duckdb", "duckdb"), ["pwrite64"]),
            (target("sqlite:/orders.sqlite", "sqlite"), ["pwrite64"]),
        ):
            self.assertEqual(process_zombies.moments(of), [*process_zombies.ON_DISK, *its_own], of)
        self.assertEqual(process_zombies.moments(target("tables:s3://bucket", "tables", store="s3")), ["writev", "recvfrom"])


if __name__ == "__main__":
    unittest.main()
