"""Loads real data from real servers with `ingest`, twice and with kills in between, and compares what DuckDB and Polars
read with the input. Then asks for errors: each must be clear, with an exit code, and lose nothing."""

import os
import sys
import tempfile

from harness import Checks
from real_data import load
from real_errors import errors
from real_loads import Loads
from real_sources import SERVERS


def real_servers(checks, folder, wanted):
    flights, movies = load("flights-20k.json"), load("movies.json")
    checks.that("the data are 20,000 flights and 3,201 movies", (len(flights), len(movies)) == (20_000, 3_201))
    loads = Loads(checks, folder)
    for server in SERVERS:
        if not wanted or server.__name__ in wanted:
            server(loads, flights, movies)
    return loads


def main():
    checks, loads = Checks(), None
    wanted = set(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="landfall-real-") as folder:
        os.environ["NO_PROXY"] = "127.0.0.1"
        if "errors" not in wanted:
            loads = real_servers(checks, folder, wanted - {"servers"})
        if not wanted or "errors" in wanted:
            errors(checks, folder)
    failed = checks.done()
    if loads:
        print(loads)
    return failed


sys.exit(main())
