"""Ways to go wrong: each must end with a clear error and its exit code, show no secret, and lose nothing."""

import json
import re
import time
from pathlib import Path

from harness import MODULES, data_files, demo_api, fetch, free_port, ingest, rows_by_duckdb, server, start_ingest
from real_loads import write_spec

ORDERS = {"id": "utf8", "number": "int64", "status": "utf8", "quantity": "int64", "amount": "decimal(12,2)"}
PAGED = 'url = "{api}/orders"\nrecords = "{records}"\npaginate = {{ by = "cursor", at = "$.next_cursor", query = "cursor" }}\n'


def refuses(checks, name, spec, code, words, env=None):
    """The run must end with `code` and say `words`; and never what is secret."""
    got, _, said = ingest(spec, {"RUST_LOG": "trace", **(env or {})})
    # The log comes before it.
    error = "".join(re.findall(r"^(?:error|not complete|missing).*", said, re.MULTILINE | re.DOTALL))
    missing = [w for w in words if w.lower() not in error.lower()]
    checks.that(f"{name}: a clear error, exit code {code}", got == code and not missing, f"code {got}, said: {error}")
    checks.that(f"{name}: no secret is shown, not even in the finest log", "s3cr3t" not in said)


def errors(checks, folder):
    with demo_api("--records", 1500, "--bad", 0, "--token", "right") as api:
        source = PAGED.format(api=api, records="$.data[*]") + 'auth = { by = "bearer", env = "TOKEN" }'
        spec = write_spec(folder, "token", source, ORDERS)
        refuses(checks, "a wrong token", spec, 3, ["401", "token"], {"TOKEN": "s3cr3t"})
        refuses(checks, "a token that is not set", spec, 2, ["TOKEN"])
        code, report, said = ingest(spec, {"TOKEN": "right"})
        checks.that("the right token loads", code == 0 and report["ledger"]["read"] == 1500, said)
        unread = sum(1 for r in fetch(f"{api}/truth/orders").splitlines() if r) - len(
            rows_by_duckdb(f"{folder}/token", ["id"], "id")
        )
        checks.that("nothing was lost by the refusals", unread == 0, f"{unread} missing")
    with demo_api("--records", 1500) as api:
        spec = write_spec(folder, "path", PAGED.format(api=api, records="$.rows[*]"), ORDERS)
        refuses(checks, "a wrong records path", spec, 5, ["$.rows"])
        spec = write_spec(folder, "url", PAGED.format(api=f"{api}/nothing", records="$.data[*]"), ORDERS)
        refuses(checks, "a wrong URL path", spec, 2, ["404"])
        spec = write_spec(folder, "field", PAGED.format(api=api, records="$.data[*]") + "colour = 1", ORDERS)
        refuses(checks, "an unknown field in the spec", spec, 2, ["colour"])
        spec = write_spec(folder, "next", PAGED.format(api=api, records="$.data[*]").replace("$.next_cursor", "$.next"), ORDERS)
        refuses(checks, "a wrong path of the cursor", spec, 5, ["$.next", "next_cursor"])
        spec = write_spec(folder, "repeats", PAGED.format(api=api, records="$.data[*]"), ORDERS)
        spec.write_text(spec.read_text().replace('[dedup]\nkey = ["id"]', ""))
        refuses(checks, "a spec without a key", spec, 2, ["dedup", "append"])
        since = 'since = { field = "changed_at", query = "since" }'
        spec = write_spec(folder, "since", PAGED.format(api=api, records="$.data[*]") + since, ORDERS)
        refuses(checks, "the latest by a field that is no column", spec, 2, ["changed_at", "keep"])
        spec = write_spec(folder, "place", PAGED.format(api=api, records="$.data[*]"), ORDERS)
        spec.write_text(spec.read_text().replace(f'"{folder}/place', f'"file://{folder}/a%20place/of mine'))
        code, _, said = ingest(spec)
        inside = Path(folder, "a place", "of mine")
        checks.that("a folder with a space is the place itself", code == 0 and inside.is_dir(), said)
        around = [folder, inside.parent]
        checks.that("nothing is written around it", not any(Path(f, ".landfall-tmp").exists() for f in around))
    with demo_api("--records", 1500, "--throttle-every", 2, "--retry-after", 7200) as api:
        spec = write_spec(folder, "limited", PAGED.format(api=api, records="$.data[*]"), ORDERS)
        refuses(checks, "an API that asks to come in two hours", spec, 4, ["rate limited"])
    source = PAGED.format(api=f"http://127.0.0.1:{free_port()}", records="$.data[*]")
    refuses(checks, "an unreachable host", write_spec(folder, "host", source, ORDERS), 4, ["connect"])
    store_without_conditions(checks, folder)
    stopped(checks, folder)
    second_instance(checks, folder)


def store_without_conditions(checks, folder):
    """s3rver answers 200 to `If-None-Match: *` on an object that is there."""
    port = free_port()
    command = ["node", str(MODULES / ".bin" / "s3rver"), "-d", f"{folder}/s3", "-a", "127.0.0.1", "-p", str(port)]
    command += ["--configure-bucket", "lake"]
    with demo_api("--records", 500) as api, server(command, f"http://127.0.0.1:{port}/lake"):
        spec = write_spec(folder, "ignores", PAGED.format(api=api, records="$.data[*]"), ORDERS)
        spec.write_text(spec.read_text().replace(f'state = "{folder}/ignores-state"', 'state = "s3://lake/state"'))
        keys = {
            "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "S3RVER",
            "AWS_SECRET_ACCESS_KEY": "S3RVER",
            "AWS_REGION": "us-east-1",
        }
        refuses(checks, "a store that ignores conditions", spec, 2, ["condition"], keys)
        checks.that("a refused store: nothing was asked of the API", json.loads(fetch(f"{api}/stats"))["requests"] == 0)


def stopped(checks, folder):
    """A supervisor's SIGTERM: what has come is committed, and the next run goes on."""
    with demo_api("--records", 30_000, "--bad", 0) as api:
        source = PAGED.format(api=api, records="$.data[*]") + 'query = { limit = "50" }'
        spec = write_spec(folder, "stopped", source, ORDERS, "[run]\nepoch_records = 2000\n")
        proc = start_ingest(spec)
        while not data_files(f"{folder}/stopped") and proc.poll() is None:
            time.sleep(0.02)
        proc.terminate()
        _, said = proc.communicate(timeout=60)
        checks.that("SIGTERM stops gracefully, exit code 130", proc.returncode == 130, f"{proc.returncode}: {said}")
        code, report, said = ingest(spec)
        rest = report["ledger"]["read"] if report else None
        checks.that("the next run goes on", code == 0 and 0 < rest < 30_000, f"{rest} read; {said}")


def second_instance(checks, folder):
    """Two at the same time: one takes over, the other stops; then a third run finds nothing lost."""
    with demo_api("--records", 30_000, "--bad", 0) as api:
        source = PAGED.format(api=api, records="$.data[*]") + 'query = { limit = "50" }'
        spec = write_spec(folder, "twice", source, ORDERS, "[run]\nepoch_records = 2000\n")
        first = start_ingest(spec)
        while not data_files(f"{folder}/twice") and first.poll() is None:
            time.sleep(0.02)
        running = first.poll() is None
        code, _, said = ingest(spec)
        _, first_said = first.communicate()
        checks.that("a second instance: it takes over and finishes", running and code == 0, said)
        checks.that(
            "a second instance: the first stops, exit code 7, and says why",
            first.returncode == 7 and "owner" in first_said.lower(),
            f"code {first.returncode}, said: {first_said}",
        )
        right = {json.loads(r)["id"] for r in fetch(f"{api}/truth/orders").splitlines()}
        ids = [row[0] for row in rows_by_duckdb(f"{folder}/twice", ["id"], "id")]
        checks.that("a second instance: nothing lost, nothing doubled", len(ids) == len(right) and set(ids) == right)
