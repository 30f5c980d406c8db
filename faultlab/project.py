"""A project as a user would have it: a database or two, a folder of projections, daemons, writers."""

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Optional

import psycopg

from .daemon import Daemon
from .lab import Lab
from .outcome import Outcome
from .registry import RETHINK
from .sampler import Sampler
from .servers import Postgres, Rethink
from .waiting import until
from .workload import Writers

PROJECTIONS = ("audit", "chain", "counter", "state")


class Project:
    """Everything that one row works with. Nothing of it is shared with another row but the servers."""

    def __init__(self, lab: Lab, name: str, backend: str, attempt: int = 1) -> None:
        self.lab = lab
        self.name = f"{name.lower()}_{backend}" + (f"_{attempt}" if attempt > 1 else "")
        self.backend = backend
        self.folder = lab.folder / self.name
        self.folder.mkdir()
        self.folder.chmod(0o755)
        shutil.copytree(Path(__file__).parent / "projections", self.folder / "projections")
        self.random = random.Random(f"{lab.seed} {self.name}")
        # A quick look is taken on whatever machine there is; figures are for the larger profiles.
        self.result = Outcome(slack=3.0 if lab.profile == "quick" else 1.0)
        self.postgres: Postgres = lab.postgres
        self.rethink: Optional[Rethink] = lab.rethink if backend == RETHINK else None
        self.writers = Writers(lab.writer, self.folder, self.random.randrange(2**32))
        self.daemons: List[Daemon] = []
        self.postgres_port: Optional[int] = None
        self.rethink_port: Optional[int] = None
        self.settings: Dict[str, str] = {}
        # Of the daemons alone.
        self.environment: Dict[str, str] = {}
        # Whether panics are what the row is about.
        self.panics = False
        with self.postgres.connect("postgres") as admin:
            admin.execute(f"create database {self.name}")
        self.ok("setup")
        self.sampler = Sampler(self)

    @property
    def quick(self) -> bool:
        return self.lab.profile == "quick"

    def many(self, quick: int, full: int, release: int) -> int:
        """How often, by profile."""
        return {"quick": quick, "full": full, "release": release}[self.lab.profile]

    def env(self, direct: bool = False) -> Dict[str, str]:
        """Through the proxies, if there are any, unless `direct`."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("PROJECTORD_")}
        env.update(
            PROJECTORD_HTTP__LISTEN="",
            PROJECTORD_POSTGRES__URL=self.postgres.url(self.name, None if direct else self.postgres_port),
            PROJECTORD_PROJECTIONS__PATH=str(self.folder / "projections"),
            PROJECTORD_PROJECTOR__POLL_INTERVAL="500ms",
            PROJECTORD_REBUILD__KEEP_OLD="2s",
            PROJECTORD_INGEST__SWEEP_INTERVAL="500ms",
        )
        if self.rethink:
            env["PROJECTORD_STORE__URL"] = self.rethink.url(self.name, None if direct else self.rethink_port)
        env.update(self.settings)
        return env

    def store_url(self, direct: bool = True) -> str:
        """Where writers append."""
        if self.rethink:
            return self.rethink.url(self.name, None if direct else self.rethink_port)
        return self.postgres.url(self.name, None if direct else self.postgres_port)

    def daemon(self, name: str = "a", **env: str) -> Daemon:
        daemon = Daemon(self.lab.binary, self.folder, {**self.env(), **self.environment, **env}, name)
        self.daemons.append(daemon)
        return daemon

    def cli(self, *words: str, within: float = 120) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(self.lab.binary), *words], cwd=self.folder, env=self.env(direct=True),
                              capture_output=True, text=True, timeout=within, stdin=subprocess.DEVNULL)  # fmt: skip

    def ok(self, *words: str) -> str:
        done = self.cli(*words)
        if done.returncode:
            raise RuntimeError(f"projectord {' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def connect(self) -> "psycopg.Connection":
        return self.postgres.connect(self.name)

    def value(self, sql: str, *arguments: object):  # type: ignore[no-untyped-def]
        """The one value of the one row."""
        with self.connect() as connection:
            found = connection.execute(sql, arguments).fetchone()
            return found[0] if found else None

    def head(self) -> int:
        return int(self.value("select position from projectord.log_head"))

    def slowest(self) -> int:
        """The checkpoint that is furthest behind; -1 where one is missing."""
        return int(self.value(
            "select case when count(*) < %s then -1 else min(g.checkpoint) end from projectord.projections p"
            " join projectord.generations g on g.projection = p.name and g.generation = p.generation",
            len(PROJECTIONS)))  # fmt: skip

    def caught_up(self, events: Optional[int] = None, within: float = 60) -> float:
        """Waits until every projection has what was acknowledged by now; how long that took."""
        wanted = self.writers.acknowledged() if events is None else events
        with self.connect() as connection:
            sql = (
                "select count(*) filter (where g.checkpoint >= %s) from projectord.projections p"
                " join projectord.generations g on g.projection = p.name and g.generation = p.generation"
            )
            done = lambda: connection.execute(sql, (wanted,)).fetchone()[0] == len(PROJECTIONS)  # noqa: E731
            return until(f"all projections are at {wanted}", done, within, every=0.01)

    def begin(self, rate: int = 100, direct: bool = True, daemons: int = 1) -> Daemon:
        """Writers and a daemon that follows them, all well."""
        self.sampler.start()
        daemon = [self.daemon("abc"[number]) for number in range(daemons)][0]
        self.writers.start(self.store_url(direct), rate=rate)
        self.writers.until_acknowledged(100)
        self.caught_up()
        return daemon

    def close(self) -> None:
        """Whatever happened: nothing of this row goes on."""
        self.sampler.stop()
        self.writers.kill()
        for daemon in self.daemons:
            daemon.kill()
