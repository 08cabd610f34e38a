"""PostgreSQL as a private server on the loopback interface, which can be killed and started again; and a proxy that loses its answers."""

import contextlib
import glob
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import free_port

# A simple query of this text, as it goes over the wire.
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"


class PostgresServer:
    """A cluster in a folder of its own, or with its data somewhere else; made and run with these options."""

    def __init__(self, folder, data=None, made_with=(), run_with=()):
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: float(p.split("/")[4]))
        if not programs:
            sys.exit("there is no PostgreSQL server: install the package postgresql")
        self.programs, self.folder, self.port, self.kills = Path(programs[-1]), Path(folder), free_port(), 0
        self.data, self.log, self.run_with = data or self.folder / "data", self.folder / "server.log", run_with
        self.become = owner()
        hand_over(self.folder)
        made = [*self.become, self.programs / "initdb", "-D", self.data, "-U", "landfall", "-A", "trust", *made_with]
        subprocess.run([*made, "-E", "UTF8", "--locale=C", "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd=self.folder)
        self.start()

    def url(self, port=None, database="postgres"):
        return f"postgresql://landfall@127.0.0.1:{port or self.port}/{database}?sslmode=disable"

    def new_database(self, name, like=None):
        """An empty database, or a copy of another one, which nobody may be connected to then."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{like}"' if like else ""))
        return name

    def start(self, patience=60):
        end = time.monotonic() + patience
        while not self._try_start(end):
            # What is left of a server that was killed may hold its memory for a moment.
            if time.monotonic() > end:
                sys.exit(f"PostgreSQL did not start: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def _try_start(self, end):
        command = [*self.become, self.programs / "postgres", "-D", self.data, "-p", str(self.port), *self.run_with]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        # Recovery would sync each of a thousand files by itself.
        command += ["-c", "recovery_init_sync_method=syncfs"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        while self.process.poll() is None and time.monotonic() < end:
            if self.is_ready():
                return True
            time.sleep(0.05)
        return False

    def is_ready(self):
        return subprocess.run([self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode == 0

    def restart(self):
        """Kills all of its processes with SIGKILL, and starts it again: it recovers what was committed."""
        self.stop(signal.SIGKILL)
        self.kills += 1
        self.start()

    def stop(self, how=signal.SIGINT):
        with contextlib.suppress(ProcessLookupError):
            if how == signal.SIGKILL:
                os.killpg(self.process.pid, how)
            else:
                self.process.send_signal(how)
        self.process.wait()


def owner():
    """The command before another one, so that it is run by the user whose a server is: it refuses to run as root."""
    if os.getuid():
        return []
    if subprocess.run(["id", "postgres"], capture_output=True).returncode:
        subprocess.run(["useradd", "--system", "--no-create-home", "postgres"], check=True)
    group = subprocess.run(["id", "-g", "postgres"], capture_output=True, text=True, check=True).stdout.strip()
    return ["setpriv", "--reuid", "postgres", "--regid", group, "--clear-groups"]


def hand_over(folder):
    """The folder is that user's alone."""
    if os.getuid() == 0:
        subprocess.run(["chown", "postgres:", str(folder)], check=True)
    folder.chmod(0o700)


@contextlib.contextmanager
def postgres(run_with=()):
    """A server until the block ends, run with these options. Its folder is no other's: it belongs to the user that the server runs as."""
    with tempfile.TemporaryDirectory(prefix="landfall-postgres-") as folder:
        server = PostgresServer(folder, run_with=run_with)
        try:
            yield server
        finally:
            server.stop()


class LosesAnswers:
    """Stands before a server, and cuts the connection at some commits: after they were done, before the client is told."""

    def __init__(self, upstream, part, seed):
        self.upstream, self.part, self.random = upstream, part, random.Random(seed)
        self.cuts, self.commits = 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream))
        except OSError:
            client.close()
            return
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Set before the commit is sent on: no byte of the answer gets through.
        silent = threading.Event()
        threading.Thread(target=self._answers, args=(client, server, silent), daemon=True).start()
        with contextlib.suppress(OSError):
            while sent := client.recv(1 << 16):
                if COMMIT in sent:
                    self.commits += 1
                    if self.random.random() < self.part:
                        silent.set()
                server.sendall(sent)
        close(client, server)

    def _answers(self, client, server, silent):
        with contextlib.suppress(OSError):
            while answer := server.recv(1 << 16):
                if silent.is_set():
                    self.cuts += 1
                    break
                client.sendall(answer)
        close(client, server)

    def close(self):
        close(self.listener)


def close(*sockets):
    for s in sockets:
        with contextlib.suppress(OSError):
            s.shutdown(socket.SHUT_RDWR)
        s.close()
