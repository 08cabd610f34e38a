"""Loads through `ingest`, and what two readers that know nothing of it find afterwards."""

import json
import random
import tempfile
import time
from pathlib import Path

from harness import ingest, rows_by_duckdb, rows_by_polars, start_ingest
from real_data import expected


def write_spec(folder, name, source, schema, extra="", key="id"):
    """A spec for `ingest`; `schema` is text, or columns and their types."""
    if not isinstance(schema, str):
        schema = as_schema(schema)
    spec = Path(folder, f"{name}.toml")
    spec.write_text(
        f'name = "{name}"\nstate = "{folder}/{name}-state"\nschema = \'{schema}\'\n\n'
        f"[source]\n{source}\n\n[dedup]\nkey = [\"{key}\"]\n\n[sink]\nparquet = \"{folder}/{name}\"\n\n{extra}"
    )
    return spec


def as_schema(columns, path=None):
    """Columns as a spec has them; `path` says where in a record a column is, if not under its name."""
    place = (lambda c: f" from {path(c)}") if path else (lambda _: "")
    return ", ".join(f"{json.dumps(c)}{place(c)}: {kind}" for c, kind in columns.items())


class Loads:
    """Counts what was loaded and compared."""

    def __init__(self, checks, folder):
        self.checks, self.folder = checks, folder
        self.servers, self.rows, self.different = set(), 0, 0

    def place(self):
        """A folder for what a server keeps."""
        return tempfile.mkdtemp(dir=self.folder, prefix="server-")

    def load(self, server, name, source, records, columns, schema=None, key="id", env=None):
        """A load, and the same again, which adds nothing. Gives how long the first one took, or None if it failed."""
        self.servers.add(server)
        name = f"{server}-{name}"
        spec = write_spec(self.folder, name, source, schema or columns, key=key)
        began = time.monotonic()
        code, _, said = ingest(spec, env)
        took = time.monotonic() - began
        self.checks.that(f"{name}: loads", code == 0, said)
        if code:
            self.different += len(records)
            return None
        self.compare(name, records, columns, key)
        code, report, said = ingest(spec, env)
        again = report["ledger"]["staged"] if report else None
        self.checks.that(f"{name}: the second run adds nothing", code == 0 and again == 0, f"{again} rows; {said}")
        self.compare(name, records, columns, key)
        return took

    def load_killed(self, server, name, source, records, columns, schema=None, key="id", env=None):
        """The same, and a load that is killed half way, again and again."""
        took = self.load(server, name, source, records, columns, schema, key, env)
        if took is None:
            return
        name = f"{server}-{name}-killed"
        spec = write_spec(self.folder, name, source, schema or columns, key=key)
        kills = 0
        # Early at first: once a run has come to its end, the next ones have nothing to be killed in.
        for part in [0.1, 0.2, 0.4, 0.6]:
            proc = start_ingest(spec, env)
            time.sleep(random.uniform(part, 1.5 * part) * took)
            kills += proc.poll() is None
            proc.kill()
            proc.communicate()
        code, _, said = ingest(spec, env)
        self.checks.that(f"{name}: loads after {kills} kills", code == 0 and kills > 0, said)
        self.compare(name, records, columns, key)

    def refuse(self, server, name, source, schema, code, words, env=None):
        """A load that must end with `code` and say `words`."""
        got, _, said = ingest(write_spec(self.folder, f"{server}-{name}", source, schema), env)
        missing = [word for word in words if word not in said]
        self.checks.that(f"{server}-{name}: a clear error, exit code {code}", got == code and not missing, f"{got}: {said}")

    def compare(self, name, records, columns, key="id"):
        want = expected(records, columns, key)
        self.rows += len(want)
        for reader, read in [("DuckDB", rows_by_duckdb), ("Polars", rows_by_polars)]:
            got = read(f"{self.folder}/{name}", list(columns), key)
            differ = [(w, g) for w, g in zip(want, got) if w != g]
            different = len(differ) + abs(len(want) - len(got))
            self.different += different
            self.checks.that(
                f"{name}: {reader} reads {len(want)} rows, equal to the input one by one",
                different == 0,
                f"{len(got)} rows; {different} different, the first: {differ[:1]}",
            )

    def __str__(self):
        return f"servers={len(self.servers)} rows={self.rows} different={self.different}"
