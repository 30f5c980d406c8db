"""Private servers on free ports of loopback, in temporary folders, that can be made to die."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PASSWORD = "sekret-of-the-lab"


def until(what: str, done: Callable[[], bool], patience: float = 30.0) -> float:
    """Waits until `done`, within bounds; how long that took."""
    begun = time.monotonic()
    while not done():
        if time.monotonic() - begun > patience:
            raise TimeoutError(f"not within {patience:.0f} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - begun


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Postgres:
    """A PostgreSQL that flushes what it commits."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.bin = self._programs()
        folder.mkdir(parents=True)
        # The server refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user)
        self._run("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "lab", "--locale=C", "-E", "UTF8", "--no-sync")
        with (folder / "data/postgresql.conf").open("a") as conf:
            conf.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
        self.start()

    @staticmethod
    def _programs() -> Path:
        places = [os.environ.get("PROJECTORD_PG_BIN", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
        places += os.environ["PATH"].split(":")
        found = next((Path(place) for place in places if place and (Path(place) / "initdb").exists()), None)
        if found is None:
            raise SystemExit("PostgreSQL's server programs are missing: make setup")
        return found

    def _run(self, program: str, *arguments: str) -> None:
        # As whoever may, and with nothing of ours held open by a server that stays.
        subprocess.run([self.bin / program, *arguments], check=True, cwd=self.folder, user=self._uid(),
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _uid(self) -> int | None:
        return pwd.getpwnam(self.user).pw_uid if self.user else None

    def url(self, database: str, port: int | None = None) -> str:
        return f"postgres://lab:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-m", mode, "-w", "stop")

    def kill_one_backend(self) -> None:
        """The postmaster restarts everything when one of its children dies by a signal."""
        pid = int((self.folder / "data/postmaster.pid").read_text().splitlines()[0])
        children = subprocess.run(["pgrep", "-P", str(pid), "-f", "postgres: lab"], capture_output=True, text=True)
        os.kill(int(children.stdout.split()[0]), signal.SIGKILL)


class Rethink:
    """A RethinkDB with its own defaults: each write is flushed before it is acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.cluster = folder, free_port(), free_port()
        folder.mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @staticmethod
    def is_here() -> bool:
        return shutil.which("rethinkdb") is not None

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            ["rethinkdb", "--directory", self.folder / "data", "--bind", "127.0.0.1", "--no-http-admin",
             "--no-update-check", "--driver-port", str(self.port), "--cluster-port", str(self.cluster),
             "--cache-size", "256"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until("RethinkDB answers", lambda: answers(self.port), 60)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    stop = kill
