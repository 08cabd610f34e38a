"""Object stores as private servers on the loopback interface, each with an empty bucket: where it is, what `landfall` needs in its
environment to reach it, and a copy of what it holds for readers of files."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from harness import CACHE, fetch, free_port, server

MODULES = CACHE / "node-stores" / "node_modules"
BUCKET = "lake"
# Well known: the emulator's own.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Store:
    """A place in a running server."""

    def __init__(self, uri, env, objects, read):
        self.uri, self.env, self._objects, self._read = uri, env, objects, read
        # Kills the server and starts it again; only of one that keeps what it has confirmed.
        self.restart = None
        self.pid = None
        # Where it is told how much more can be written; only of one that can be full.
        self.room = None

    def leave(self, more):
        """So much more can be written, and then it is full."""
        fetch(f"{self.room}?{more}", "PUT")

    def is_gone(self):
        """It answers, however full it is."""
        return False

    def make_room(self):
        fetch(self.room, "DELETE")

    def below(self, folder):
        """A folder of it, as a place of its own."""
        prefix = f"{folder}/"
        objects = lambda: ((name.removeprefix(prefix), size) for name, size in self._objects(prefix))
        return Store(f"{self.uri}/{folder}", self.env, objects, lambda name: self._read(prefix + name))

    def copy_to(self, folder):
        """Makes `folder` hold what the store holds, file by object. Objects do not change once they are there."""
        held = dict(self._objects())
        for name, size in held.items():
            path = Path(folder, name)
            if not path.exists() or path.stat().st_size != size:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._read(name))
        for path in Path(folder).rglob("*"):
            if path.is_file() and path.relative_to(folder).as_posix() not in held:
                path.unlink()


@contextlib.contextmanager
def moto():
    port = free_port()
    program = [sys.executable, str(Path(__file__).with_name("moto_server.py")), str(port)]
    with server(program, f"http://127.0.0.1:{port}/moto-api/") as running:
        store = s3(f"http://127.0.0.1:{port}", "any", "any")
        store.pid, store.room = running.pid, f"http://127.0.0.1:{port}/-/room"
        yield store


@contextlib.contextmanager
def s3rver(folder):
    """Ignores the condition of a create."""
    port = free_port()
    command = ["node", str(CACHE / "node" / "node_modules" / ".bin" / "s3rver"), "-d", str(folder), "-a", "127.0.0.1"]
    with server([*command, "-p", str(port), "--configure-bucket", BUCKET], f"http://127.0.0.1:{port}/{BUCKET}"):
        yield Store(f"s3://{BUCKET}", s3_env(f"http://127.0.0.1:{port}", "S3RVER", "S3RVER"), None, None)


CEPH = """[global]
fsid = 6f1f3a9e-0d5b-4f0c-9a3e-2b5f9c1d7e11
mon host = [v2:127.0.0.1:{mon}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
# Without these radosgw never connects where there is no authentication.
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
osd objectstore = bluestore
bluestore block size = 4294967296
mon data = {folder}/mon
osd data = {folder}/osd
run dir = {folder}
crash dir = {folder}
keyring = {folder}/keyring
admin socket = {folder}/$name.$pid.asok
log file = {folder}/$name.log

[client.rgw]
rgw data = {folder}
rgw frontends = beast endpoint=127.0.0.1:{rgw}
"""


@contextlib.contextmanager
def radosgw(folder):
    """Ceph: a monitor, one disk in a file, and the gateway that speaks S3. Everything is kept when it is killed."""
    mon, rgw, folder = free_port(), free_port(), Path(folder)
    for name in ("mon", "osd"):
        (folder / name).mkdir(parents=True)
    config = folder / "ceph.conf"
    config.write_text(CEPH.format(folder=folder, mon=mon, rgw=rgw))
    env = {**os.environ, "CEPH_CONF": str(config)}

    def run(*command):
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    with contextlib.ExitStack() as stack:

        def daemon(*command):
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            proc = subprocess.Popen([*command, "-f"], env=env, **quiet)
            stack.callback(proc.wait)
            stack.callback(proc.kill)

        address = f"[v2:127.0.0.1:{mon}]"
        fsid = "6f1f3a9e-0d5b-4f0c-9a3e-2b5f9c1d7e11"
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, str(folder / "monmap"))
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(folder / "monmap"))
        daemon("ceph-mon", "-i", "a")
        run("ceph", "--connect-timeout", "30", "osd", "create")
        run("ceph-osd", "-i", "0", "--mkfs")
        daemon("ceph-osd", "-i", "0")
        gateway = stack.enter_context(contextlib.ExitStack())

        def start():
            gateway.close()
            command = ["radosgw", "-n", "client.rgw", "-f"]
            gateway.enter_context(server(command, f"http://127.0.0.1:{rgw}", env=env))

        start()
        user = ["--uid=landfall", "--display-name=landfall", "--access-key=any", "--secret=any"]
        run("radosgw-admin", "-n", "client.rgw", "user", "create", *user)
        store = s3(f"http://127.0.0.1:{rgw}", "any", "any")
        store.restart = start
        yield store


def opened(kind, folder):
    """The server of this kind, in `folder`."""
    if kind == "s3":
        return moto()
    return azurite(folder) if kind == "azure" else radosgw(folder)


def s3_env(endpoint, key, secret):
    return {
        "AWS_ENDPOINT": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
    }


def s3(endpoint, key, secret):
    """A bucket that is made now."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
    )
    client.create_bucket(Bucket=BUCKET)

    def objects(prefix=""):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            yield from ((o["Key"], o["Size"]) for o in page.get("Contents", []))

    def read(name):
        return client.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    return Store(f"s3://{BUCKET}", s3_env(endpoint, key, secret), objects, read)


@contextlib.contextmanager
def azurite(folder):
    from azure.storage.blob import BlobServiceClient

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = ["node", str(MODULES / "azurite" / "dist" / "src" / "blob" / "main.js"), "--blobHost", "127.0.0.1"]
    # Otherwise it calls home.
    command += ["--blobPort", str(port), "-l", str(folder), "-s", "--skipApiVersionCheck", "--disableTelemetry"]
    with server(command, endpoint):
        account = BlobServiceClient(f"{endpoint}/{AZURE_ACCOUNT}", {"account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY})
        container = account.create_container(BUCKET)
        env = {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": endpoint}
        objects = lambda: ((b.name, b.size) for b in container.list_blobs())
        yield Store(f"az://{BUCKET}", env, objects, lambda name: container.download_blob(name).readall())


@contextlib.contextmanager
def environment(env):
    """`env` for processes that are started from here."""
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
