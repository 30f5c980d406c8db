"""A PostgreSQL and a RethinkDB of the lab's own: durable, on loopback, and easy to hurt."""

import glob
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Dict, List, Optional

import psycopg
from rethinkdb import r

from .processes import accepts, free_port, server_user, spawn
from .waiting import until

SUPERUSER = "projectord"


class Server:
    """What both have in common: a process that is started, stopped and killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.port = free_port()
        self.password = "secret" + secrets.token_hex(12)
        self.process: Optional["subprocess.Popen[bytes]"] = None
        # Added to the environment that it starts in.
        self.environment: Dict[str, str] = {}

    def kill(self) -> None:
        """`kill -9`."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _signal(self, what: int) -> None:
        if self.process:
            self.process.send_signal(what)
            self.process.wait(timeout=60)
            self.process = None


class Postgres(Server):
    """A cluster with every flush that a real one makes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = folder / "data"
        folder.mkdir(parents=True)
        self.user = server_user()
        if self.user is not None:
            os.chown(folder, self.user, self.user)

    def make(self) -> "Postgres":
        """A new cluster."""
        password = self.folder / "password"
        password.write_text(self.password)
        password.chmod(0o644)
        self.run("initdb", "--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256",
                 f"--username={SUPERUSER}", f"--pwfile={password}", "-D", str(self.data))  # fmt: skip
        with (self.data / "pg_hba.conf").open("a") as hba:
            hba.write("host replication all 127.0.0.1/32 scram-sha-256\n")
        return self

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs, as the server's user."""
        who = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        done = subprocess.run([str(programs() / program), *arguments], cwd=self.folder, capture_output=True,
                              env={**os.environ, "PGPASSWORD": self.password}, **who)  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": self.port,
            "max_connections": 120, "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
            "wal_level": "replica", "max_wal_senders": 4, "log_min_messages": "warning",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.command = [str(programs() / "postgres"), "-D", str(self.data), *options]
        self._spawn()
        self.wait()

    def _spawn(self) -> None:
        self.process = spawn(self.command, self.log, env={**os.environ, **self.environment}, cwd=self.folder, user=self.user)

    def wait(self) -> None:
        """Until it lets us in."""
        until("PostgreSQL accepts connections", self._accepts)

    def _accepts(self) -> bool:
        # After a `kill -9` the sessions of before may live a moment longer, and a new server refuses to start beside
        # them: whoever runs a service starts it again.
        if self.process and self.process.poll() is not None:
            self._spawn()
        self.connect("postgres").close()
        return True

    def stop_fast(self) -> None:
        self._signal(signal.SIGINT)

    def stop_immediately(self) -> None:
        """As if it crashed, except that clients are told."""
        self._signal(signal.SIGQUIT)

    def url(self, database: str, port: Optional[int] = None) -> str:
        return f"postgres://{SUPERUSER}:{self.password}@127.0.0.1:{port or self.port}/{database}"

    def connect(self, database: str, **options: object) -> "psycopg.Connection":
        """A session of the checker's own, never through a proxy."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5,
                               application_name="faultlab", **options)  # type: ignore[arg-type]  # fmt: skip


class Rethink(Server):
    """One node, with hard durability as the store demands it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True)
        self.cluster_port = free_port()

    def start(self) -> None:
        command = [
            "rethinkdb", "--directory", str(self.folder / "data"), "--bind", "127.0.0.1", "--no-http-admin",
            "--no-update-check", "--driver-port", str(self.port), "--cluster-port", str(self.cluster_port),
            "--cache-size", "512", "--initial-password", self.password,
        ]  # fmt: skip
        self.process = spawn(command, self.log, env={**os.environ, **self.environment}, cwd=self.folder)
        until("RethinkDB accepts connections", lambda: accepts(self.port) and self.connect().close() is None)

    def stop(self) -> None:
        self._signal(signal.SIGINT)

    def url(self, database: str, port: Optional[int] = None) -> str:
        return f"rethinkdb://admin:{self.password}@127.0.0.1:{port or self.port}/{database}"

    def connect(self):  # type: ignore[no-untyped-def]
        return r.connect(host="127.0.0.1", port=self.port, password=self.password, timeout=10)


def programs() -> Path:
    """Where `initdb` is: what the environment says, or where Debian and others keep it."""
    named: List[str] = [os.environ["PROJECTORD_PG_BIN"]] if "PROJECTORD_PG_BIN" in os.environ else []
    packaged = sorted(glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/opt/homebrew/opt/*/bin"), reverse=True)
    for folder in named + packaged + os.environ["PATH"].split(":"):
        if (Path(folder) / "initdb").exists() and (Path(folder) / "postgres").exists():
            return Path(folder)
    raise RuntimeError("PostgreSQL's server programs were not found; set PROJECTORD_PG_BIN")


def has_rethinkdb() -> bool:
    return shutil.which("rethinkdb") is not None
