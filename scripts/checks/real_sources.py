"""What is loaded from each server, and how: the specs as a user would write them."""

import json
import os

import real_servers
from harness import detected, fetch
from real_data import FLIGHTS, MOVIES
from real_loads import as_schema

TEXT_ID = {**MOVIES, "id": "utf8"}


def as_rows(records):
    """What CSV can tell: nothing between two commas is null."""
    return [{column: None if value == "" else value for column, value in record.items()} for record in records]


def datasette(loads, flights, movies):
    tables = {"flights": flights, "movies": movies}
    with real_servers.datasette(loads.place(), tables, {"flights": {"delay": "INTEGER", "distance": "INTEGER"}}) as base:
        by_token = (
            'query = {{ _shape = "objects", _size = "{size}" }}\nurl = "{base}/real/{table}.json"\n'
            'records = "$.rows[*]"\npaginate = {{ by = "cursor", at = "$.next", query = "_next" }}'
        )
        loads.load_killed("datasette", "flights", by_token.format(size=1000, base=base, table="flights"), flights, FLIGHTS)
        loads.load_killed("datasette", "movies", by_token.format(size=100, base=base, table="movies"), movies, MOVIES)
        by_url = (
            f'url = "{base}/real/flights.json"\nquery = {{ _shape = "objects", _size = "1000" }}\nrecords = "$.rows[*]"\n'
            'paginate = { by = "next_url", at = "$.next_url" }'
        )
        loads.load("datasette", "next-url", by_url, flights, FLIGHTS)
        as_detected = detected(f"{base}/real/movies.json?_shape=objects&_size=500")
        loads.load("datasette", "as-detected", as_detected, movies, MOVIES)
        lines = (
            f'url = "{base}/real/movies.json"\nquery = {{ _shape = "array", _nl = "on", _size = "500" }}\nndjson = true\n'
            'paginate = { by = "link" }'
        )
        loads.load("datasette", "ndjson", lines, movies, MOVIES)
        for table, records, columns in [("flights", flights, FLIGHTS), ("movies", movies, MOVIES)]:
            rows = f'url = "{base}/real/{table}.csv"\nquery = {{ _stream = "on", _size = "max" }}\ncsv = {{}}'
            loads.load_killed("datasette", f"csv-{table}", rows, as_rows(records), columns)


def json_server(loads, flights, movies):
    with real_servers.json_server(loads.place(), {"flights": flights, "movies": movies}) as base:
        source = f'url = "{base}/flights"\nquery = {{ _page = "1", _limit = "1000" }}\npaginate = {{ by = "link" }}'
        loads.load_killed("json-server", "flights", source, flights, FLIGHTS, schema="infer")
        loads.load("json-server", "as-detected", detected(f"{base}/movies?_page=1&_limit=500"), movies, MOVIES)
        source = f'url = "{base}/movies"\nquery = {{ _limit = "200" }}\npaginate = {{ by = "page", query = "_page" }}'
        loads.load_killed("json-server", "movies", source, movies, MOVIES)


def json_server_1(loads, flights, movies):
    if "LANDFALL_SHARED_NETWORK" in os.environ:
        return  # It listens on every interface.
    texts = [{**movie, "id": str(movie["id"])} for movie in movies]
    with real_servers.json_server_1(loads.place(), {"movies": movies}) as base:
        pages = f'url = "{base}/movies"\nquery = {{ _per_page = "250" }}\nrecords = "$.data[*]"\n'
        source = pages + 'paginate = { by = "page", query = "_page", total = "$.items", total_pages = "$.pages" }'
        loads.load("json-server-1", "movies", source, texts, TEXT_ID)
        # Behind the last page it gives the last page again: an end by an empty page would never come.
        refused = pages + 'paginate = { by = "page", query = "_page" }'
        loads.refuse("json-server-1", "until-empty", refused, TEXT_ID, 6, ["same records as an earlier one"])


QUERY = """
query($after: String) {
  flights(first: 1000, after: $after) {
    nodes { id date delay distance origin destination }
    pageInfo { hasNextPage endCursor }
  }
}
"""


def graphql(loads, flights, movies):
    types = {"flights": {"delay": "INTEGER", "distance": "INTEGER"}}
    with real_servers.datasette(loads.place(), {"flights": flights}, types) as base:
        source = (
            f'url = "{base}/graphql"\nrecords = "$.data.flights.nodes[*]"\n'
            'paginate = { by = "connection", at = "$.data.flights" }\n'
            f"graphql.query = '''{QUERY}'''"
        )
        loads.load("datasette", "graphql", source, flights, FLIGHTS)


def couchdb(loads, flights, movies):
    def in_document(columns):
        return as_schema(columns, lambda column: f"doc.{json.dumps(column)}")

    with real_servers.couchdb(loads.place(), {"flights": flights, "movies": movies}) as base:
        documents = (
            f'url = "{base}/movies/_all_docs"\nquery = {{ include_docs = "true" }}\nrecords = "$.rows[*]"\n'
            'paginate = { by = "offset", query = "skip", limit_name = "limit", limit = 500, total = "$.total_rows" }'
        )
        loads.load("couchdb", "all-docs", documents, movies, MOVIES, in_document(MOVIES))
        changes = (
            f'url = "{base}/flights/_changes"\nquery = {{ include_docs = "true", limit = "1000" }}\nrecords = "$.results[*]"\n'
            'paginate = { by = "cursor", at = "$.last_seq", query = "since", until_repeated = true }'
        )
        loads.load_killed("couchdb", "changes", changes, flights, FLIGHTS, in_document(FLIGHTS))


def kinto(loads, flights, movies):
    few = [{**movie, "id": str(movie["id"])} for movie in movies[:500]]
    with real_servers.kinto(loads.place(), {"movies": few}, "landfall", "s3cr3t") as base:
        source = (
            f'url = "{base}/movies/records"\nquery = {{ _limit = "60", _sort = "id" }}\nrecords = "$.data[*]"\n'
            'paginate = { by = "next_url", at = { header = "Next-Page" } }\n'
            'auth = { by = "basic", user = "landfall", password = { env = "KINTO_PASSWORD" } }'
        )
        loads.load("kinto", "movies", source, few, TEXT_ID, env={"KINTO_PASSWORD": "s3cr3t"})


def aws(loads, flights, movies):
    request = (
        'url = "{base}"\nheaders = {{ X-Amz-Target = "{target}", Content-Type = "application/x-amz-json-1.0" }}\nidempotent = true\n'
        'auth = {{ by = "sigv4", region = "us-east-1", service = "{service}" }}\n'
    )
    with real_servers.aws(loads.place(), movies) as (base, key_id, secret):
        keys = {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}
        # An attribute holds its value under its type, and numbers are text.
        kinds = {column: "utf8" for column in MOVIES}
        numbers = [column for column, kind in MOVIES.items() if not kind.startswith("utf8")]
        schema = as_schema(kinds, lambda column: f"{json.dumps(column)}.{'N' if column in numbers else 'S'}")
        items = [
            {c: str(v) if c in numbers and v is not None else v if isinstance(v, str) else None for c, v in movie.items()}
            for movie in movies
        ]
        scan = request.format(base=base, target="DynamoDB_20120810.Scan", service="dynamodb") + (
            'json = { TableName = "movies", Limit = 300 }\nrecords = "$.Items[*]"\n'
            'paginate = { by = "cursor", at = "$.LastEvaluatedKey", body = "$.ExclusiveStartKey" }'
        )
        loads.load("aws", "dynamodb", scan, items, kinds, schema, env=keys)
        wrong = {**keys, "AWS_SECRET_ACCESS_KEY": "s3cr3t"}
        loads.refuse("aws", "wrong-key", scan, schema, 3, ["SignatureDoesNotMatch"], wrong)
        events = [{"message": json.dumps(movie)} for movie in movies]
        logs = request.format(base=base, target="Logs_20140328.GetLogEvents", service="logs") + (
            'json = { logGroupName = "api", logStreamName = "movies", limit = 500, startFromHead = true }\n'
            'records = "$.events[*]"\n'
            'paginate = { by = "cursor", at = "$.nextForwardToken", body = "$.nextToken", until_repeated = true }'
        )
        loads.load("aws", "logs", logs, events, {"message": "utf8"}, key="message", env=keys)


def wiremock(loads, flights, movies):
    faults = {
        2: {"status": 429, "headers": {"Retry-After": "1"}, "body": "slow down"},
        4: {"fault": "CONNECTION_RESET_BY_PEER"},
        6: {"fault": "EMPTY_RESPONSE"},
        8: {"fault": "MALFORMED_RESPONSE_CHUNK"},
        10: {"fault": "RANDOM_DATA_THEN_CLOSE"},
        12: {"status": 503, "body": "<html>down</html>"},
        14: {"chunkedDribbleDelay": {"numberOfChunks": 20, "totalDuration": 500}},
    }
    with real_servers.wiremock(loads.place(), movies, 200, faults) as base:
        source = f'url = "{base}/records"\nquery = {{ page = "1" }}\npaginate = {{ by = "link" }}'
        loads.load("wiremock", "faults", source, movies, MOVIES)
        counted = json.loads(fetch(f"{base}/__admin/requests"))["meta"]["total"]
        # The second load meets no fault; a fault costs one request more, and what came slowly costs none.
        pages = -(-len(movies) // 200)
        loads.checks.that("wiremock-faults: one retry for each fault", counted == 2 * pages + 6, f"{counted} requests")


SERVERS = [datasette, graphql, json_server, json_server_1, couchdb, kinto, aws, wiremock]
