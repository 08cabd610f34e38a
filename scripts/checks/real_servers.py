"""Servers that were not written here, each private, on the loopback interface, and filled with real data. Each gives the
base URL of its API."""

import base64
import contextlib
import json
import sqlite3
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

from harness import MODULES, free_port, send, server


@contextlib.contextmanager
def datasette(folder, tables, types):
    """SQLite tables: tokens, next URLs, links; JSON, NDJSON, CSV and GraphQL. `types` declares columns of a table; values of
    columns without one stay as they are."""
    path = Path(folder, "real.db")
    db = sqlite3.connect(path)
    for table, records in tables.items():
        columns = list(records[0])
        names = ", ".join(f'"{c}" {types.get(table, {}).get(c, "")}' for c in columns[1:])
        db.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {names})")
        marks = ", ".join("?" * len(columns))
        db.executemany(f"INSERT INTO {table} VALUES ({marks})", [tuple(r[c] for c in columns) for r in records])
    db.commit()
    db.close()
    port = free_port()
    command = [sys.executable, "-m", "datasette", "serve", str(path), "-h", "127.0.0.1", "-p", str(port)]
    command += ["--setting", "max_returned_rows", "1000", "--setting", "sql_time_limit_ms", "30000"]
    with server(command, f"http://127.0.0.1:{port}/-/versions.json"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def json_server(folder, tables):
    """Page numbers without a total in the body, and links."""
    path = Path(folder, "db.json")
    path.write_text(json.dumps(tables))
    port = free_port()
    command = ["node", str(MODULES / "json-server" / "lib" / "cli" / "bin.js"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--quiet", str(path)]
    with server(command, f"http://127.0.0.1:{port}/flights?_limit=1"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def json_server_1(folder, tables):
    """Page numbers in an envelope; behind the last page it gives the last page again. It listens on every interface: only
    where there is none but loopback."""
    path = Path(folder, "db-1.json")
    path.write_text(json.dumps({name: [{**r, "id": str(r["id"])} for r in records] for name, records in tables.items()}))
    port = free_port()
    command = ["node", str(MODULES / "json-server-1" / "lib" / "bin.js"), str(path), "--port", str(port)]
    with server(command, f"http://127.0.0.1:{port}/movies?_page=1&_per_page=1", cwd=folder):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def couchdb(folder, tables):
    """The CouchDB protocol: the feed of changes, and all documents."""
    port = free_port()
    command = ["node", str(Path(__file__).with_name("pouch.js")), str(MODULES.parent), str(port), f"{folder}/pouch.log"]
    with server(command, f"http://127.0.0.1:{port}/", cwd=folder):
        base = f"http://127.0.0.1:{port}"
        for table, records in tables.items():
            send("PUT", f"{base}/{table}")
            for at in range(0, len(records), 5000):
                documents = [{"_id": f"{r['id']:06}", **r} for r in records[at : at + 5000]]
                send("POST", f"{base}/{table}/_bulk_docs", {"docs": documents})
        yield base


@contextlib.contextmanager
def kinto(folder, collections, user, password):
    """The URL of the next page in a header of its own; accounts."""
    port = free_port()
    path = Path(folder, "kinto.ini")
    path.write_text(
        textwrap.dedent(f"""\
            [app:main]
            use = egg:kinto
            kinto.storage_backend = kinto.core.storage.memory
            kinto.permission_backend = kinto.core.permission.memory
            kinto.cache_backend = kinto.core.cache.memory
            kinto.userid_hmac_secret = checks
            kinto.bucket_create_principals = system.Authenticated
            kinto.account_create_principals = system.Everyone
            kinto.batch_max_requests = 1000
            kinto.includes = kinto.plugins.accounts
            multiauth.policies = account
            multiauth.policy.account.use = kinto.plugins.accounts.authentication.AccountsAuthenticationPolicy

            [server:main]
            use = egg:waitress#main
            host = 127.0.0.1
            port = {port}
            """)
    )
    command = [str(Path(sys.executable).with_name("kinto")), "start", "--ini", str(path)]
    with server(command, f"http://127.0.0.1:{port}/v1/"):
        base = f"http://127.0.0.1:{port}/v1"
        send("PUT", f"{base}/accounts/{user}", {"data": {"password": password}})
        login = {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
        send("PUT", f"{base}/buckets/api", {}, login)
        for name, records in collections.items():
            send("PUT", f"{base}/buckets/api/collections/{name}", {}, login)
            place = f"/buckets/api/collections/{name}/records"
            for at in range(0, len(records), 1000):
                puts = [{"path": f"{place}/{r['id']}", "body": {"data": r}} for r in records[at : at + 1000]]
                send("POST", f"{base}/batch", {"defaults": {"method": "PUT"}, "requests": puts}, login)
        yield f"{base}/buckets/api/collections"


@contextlib.contextmanager
def aws(folder, movies):
    """moto as DynamoDB (a key of the last page goes into the body of the next request) and CloudWatch Logs (a token that comes
    again means the end). Gives the base URL and a key; requests are refused that are not rightly signed with it."""
    import boto3

    port = free_port()
    base = f"http://127.0.0.1:{port}/"

    def client(service):
        return boto3.client(
            service, endpoint_url=base, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
        )

    def attribute(value):
        if value is None:
            return {"NULL": True}
        return {"S": value} if isinstance(value, str) else {"N": str(value)}

    with server([str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)], base):
        dynamo, logs, iam = client("dynamodb"), client("logs"), client("iam")
        dynamo.create_table(
            TableName="movies",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for at in range(0, len(movies), 25):
            items = [{c: attribute(v) for c, v in movie.items()} for movie in movies[at : at + 25]]
            dynamo.batch_write_item(RequestItems={"movies": [{"PutRequest": {"Item": item}} for item in items]})
        stream = {"logGroupName": "api", "logStreamName": "movies"}
        logs.create_log_group(logGroupName="api")
        logs.create_log_stream(**stream)
        began = int(time.time() * 1000) - 3_600_000
        events = [{"timestamp": began + movie["id"], "message": json.dumps(movie)} for movie in movies]
        logs.put_log_events(**stream, logEvents=events)
        iam.create_user(UserName="landfall")
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.put_user_policy(UserName="landfall", PolicyName="all", PolicyDocument=json.dumps(allowed))
        key = iam.create_access_key(UserName="landfall")["AccessKey"]
        # From now on signatures are checked.
        urllib.request.urlopen(
            urllib.request.Request(f"{base}moto-api/reset-auth", data=b"0", headers={"content-type": "text/plain"})
        ).close()
        yield base, key["AccessKeyId"], key["SecretAccessKey"]


@contextlib.contextmanager
def wiremock(folder, records, size, faults):
    """`records` in pages of `size`, over `Link` headers; `faults` by page: an answer that comes once, before the right one."""
    home = Path(folder, "wiremock")
    (home / "mappings").mkdir(parents=True)
    pages = -(-len(records) // size)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    mappings = []
    for page in range(1, pages + 1):
        request = {"urlPath": "/records", "queryParameters": {"page": {"equalTo": str(page)}}}
        link = {"Link": f'<{base}/records?page={page + 1}>; rel="next"'} if page < pages else {}
        right = {"status": 200, "jsonBody": records[(page - 1) * size : page * size], "headers": link}
        right["headers"]["Content-Type"] = "application/json"
        if page not in faults:
            mappings.append({"request": request, "response": right})
            continue
        fault = {**right, **faults[page]} if "chunkedDribbleDelay" in faults[page] else faults[page]
        scenario = {"scenarioName": f"page {page}", "request": request}
        mappings.append({**scenario, "requiredScenarioState": "Started", "newScenarioState": "over", "response": fault})
        mappings.append({**scenario, "requiredScenarioState": "over", "response": right})
    (home / "mappings" / "pages.json").write_text(json.dumps({"mappings": mappings}))
    jar = next((MODULES / "wiremock" / "build").glob("wiremock-standalone-*.jar"))
    command = ["java", "-jar", str(jar), "--bind-address", "127.0.0.1", "--port", str(port), "--root-dir", str(home)]
    with server(command, f"{base}/__admin/mappings"):
        yield base
