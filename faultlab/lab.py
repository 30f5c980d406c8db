"""One run: servers, a project with the lab's projections, writers with journals, daemons."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import psycopg

from proxy import Proxy
from servers import Postgres, Rethink, until

HERE = Path(__file__).parent
PROJECTIONS = ["audit", "chain", "counter", "state"]
CAUGHT_UP = """select coalesce(bool_and(coalesce(g.checkpoint, 0) = h.position), false)
                 from projectord.log_head h, projectord.projections p
                 left join projectord.generations g on g.projection = p.name and g.generation = p.generation"""


class Lab:
    """What a row of the table works with. One database, and one store, for each."""

    def __init__(self, folder: Path, binaries: Path, postgres: Postgres, rethink: Rethink | None, seed: int) -> None:
        self.folder, self.binaries, self.seed = folder, binaries, seed
        self.postgres, self.rethink = postgres, rethink
        self.random = random.Random(seed)
        self.name = f"lab_{uuid.uuid4().hex[:12]}"
        folder.mkdir(parents=True)
        shutil.copytree(HERE / "projections", folder / "projections")
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
            admin.execute(f"create database {self.name}")  # type: ignore[arg-type]
        self.to_postgres = Proxy(postgres.port)
        self.to_rethink = Proxy(rethink.port) if rethink else None
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.writers: subprocess.Popen[bytes] | None = None
        self.journal = folder / "journal.ndjson"
        self.fired = 0
        self.recoveries: list[float] = []
        self.command("setup")

    # -- addresses

    def store_url(self, port: int | None = None) -> str | None:
        return f"rethinkdb://127.0.0.1:{port or self.rethink.port}/{self.name}" if self.rethink else None

    def environment(self, through: Proxy | None = None, **more: str) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PROJECTORD_")}
        environment["PROJECTORD_POSTGRES__URL"] = self.postgres.url(self.name, (through or self.to_postgres).port)
        environment["PROJECTORD_PROJECTOR__POLL_INTERVAL"] = "500ms"
        environment["PROJECTORD_INGEST__SWEEP_INTERVAL"] = "1s"
        environment["PROJECTORD_INGEST__SWEEP_WINDOW"] = "60s"
        if self.to_rethink:
            environment["PROJECTORD_STORE__URL"] = str(self.store_url(self.to_rethink.port))
        return {**environment, **more}

    # -- what runs

    def command(self, *words: str) -> str:
        done = subprocess.run([self.binaries / "projectord", *words], cwd=self.folder, env=self.environment(),
                              capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise AssertionError(f"projectord {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, through: Proxy | None = None, **more: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "daemon.log").open("ab")
        daemon = subprocess.Popen([self.binaries / "projectord", "run"], cwd=self.folder, stdin=subprocess.DEVNULL,
                                  env=self.environment(through, **more), stdout=log, stderr=log)
        self.daemons.append(daemon)
        return daemon

    def kill(self, daemon: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> None:
        daemon.send_signal(how)
        daemon.wait()
        self.daemons.remove(daemon)

    def write(self, through: Proxy | None = None) -> None:
        """Starts writers; they go on until `stop_writing`."""
        port = through.port if through else None
        url = self.store_url(port) or self.postgres.url(self.name, port)
        self.writers = subprocess.Popen([self.binaries / "examples/lab_writer", url, str(self.seed), self.journal],
                                        stdin=subprocess.PIPE)

    def stop_writing(self) -> None:
        if self.writers and self.writers.stdin:
            self.writers.stdin.close()
            self.writers.wait(timeout=120)
            self.writers = None

    def end(self) -> None:
        self.stop_writing()
        for daemon in list(self.daemons):
            self.kill(daemon, signal.SIGKILL)

    # -- states to wait for

    def sql(self, query: str) -> tuple:  # type: ignore[type-arg]
        with psycopg.connect(self.postgres.url(self.name), autocommit=True) as connection:
            return connection.execute(query).fetchone() or ()  # type: ignore[arg-type]

    def head(self) -> int:
        return int(self.sql("select position from projectord.log_head")[0])

    def lowest_checkpoint(self) -> int:
        found = self.sql("""select coalesce(min(coalesce(g.checkpoint, 0)), 0) from projectord.projections p
                     left join projectord.generations g on g.projection = p.name and g.generation = p.generation""")
        return int(found[0])

    def until_busy(self, events: int = 20, patience: float = 30) -> None:
        """Until every projection has come that much further."""
        begun = self.lowest_checkpoint()
        until("the projections move", lambda: self.lowest_checkpoint() >= begun + events, patience)

    def until_passes(self, head: int, patience: float = 30) -> float:
        """Until every projection has what was in the log at some moment; how long that took."""
        return until(f"every checkpoint passes {head}", lambda: self.lowest_checkpoint() >= head, patience)

    def until_caught_up(self, patience: float = 60) -> float:
        begun = time.monotonic()
        acknowledged = self.acknowledged()
        until("the log has what was acknowledged", lambda: self.head() >= acknowledged, patience)
        until("every projection is at the head", lambda: bool(self.sql(CAUGHT_UP)[0]), patience)
        return time.monotonic() - begun

    def acknowledged(self) -> int:
        """How many events writers were told are there."""
        sizes, total = {}, 0
        for line in self.journal.read_text().splitlines() if self.journal.exists() else []:
            entry = json.loads(line)
            if "intent" in entry:
                sizes[entry["intent"]] = len(entry["values"])
            elif entry["result"] == "ok":
                total += sizes[entry["of"]]
        return total
