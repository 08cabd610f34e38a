"""The data that the servers serve, and what must be read back of them."""

import json
import os
import sys
from pathlib import Path

from harness import MODULES

FLIGHTS = {"id": "int64", "date": "utf8", "delay": "int64", "distance": "int64", "origin": "utf8", "destination": "utf8"}
MOVIES = {
    "id": "int64",
    "Title": "utf8(text)",  # strings, numbers and nulls: a number is kept as its text
    "US Gross": "int64",
    "Worldwide Gross": "int64",
    "US DVD Sales": "int64",
    "Production Budget": "int64",
    "Release Date": "utf8",
    "MPAA Rating": "utf8",
    "Running Time min": "int64",
    "Distributor": "utf8",
    "Source": "utf8",
    "Major Genre": "utf8",
    "Creative Type": "utf8",
    "Director": "utf8",
    "Rotten Tomatoes Rating": "int64",
    "IMDB Rating": "float64",
    "IMDB Votes": "int64",
}


def data_folder():
    """The data sets: from LANDFALL_DATA, from beside the repository, or the same files from npm."""
    for folder in [os.environ.get("LANDFALL_DATA"), "../shared/data", MODULES / "vega-datasets" / "data"]:
        if folder and Path(folder, "flights-20k.json").exists():
            return Path(folder)
    sys.exit("the data sets are not there")


def load(name):
    with open(data_folder() / name, encoding="utf-8") as f:
        return [{"id": n, **record} for n, record in enumerate(json.load(f), 1)]


def as_text(value):
    return value if value is None or isinstance(value, str) else json.dumps(value)


def expected(records, columns, order="id"):
    """What must be read back: the values as they came, or as the column's type has them."""
    convert = {"utf8(text)": as_text, "float64": lambda v: None if v is None else float(v)}
    rows = [{c: convert.get(kind, lambda v: v)(record[c]) for c, kind in columns.items()} for record in records]
    return [tuple(row.values()) for row in sorted(rows, key=lambda row: row[order])]
