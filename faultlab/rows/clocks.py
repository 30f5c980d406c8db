"""F26: clocks that are an hour wrong, and clocks that are set while everything runs."""

import glob
import time
from pathlib import Path
from typing import Dict

from ..frames import RethinkTalk
from ..outcome import NotHere
from ..project import Project
from ..proxy import Proxy
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until
from .histories import cluster_of_its_own, own_verdict
from .postgres import BACK, next_commit
from .stops import TAKEN_OVER, owned_by

HOUR = 3600
LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


def clock(project: Project, name: str, seconds: int = 0) -> "Dict[str, str]":
    """An environment whose clock is that of a file; the monotonic clock stays what it is."""
    found = glob.glob(LIBRARY)
    if not found:
        raise NotHere("no libfaketime (Debian: faketime)")
    file = project.folder / f"clock-{name}"
    set_clock(file, seconds)
    return {"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}  # fmt: skip


def set_clock(file: Path, seconds: int) -> None:
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.chmod(0o644)
    new.rename(file)


@row("F26", "clocks an hour off: of daemons, and PostgreSQL's is set", on=(POSTGRES,), checked=False)
def clocks_of_postgres(project: Project) -> None:
    result = project.result
    postgres = cluster_of_its_own(project, clock(project, "postgres"))
    try:
        project.ok("setup")
        project.environment = clock(project, "ahead", HOUR)
        first = project.begin()
        project.environment = clock(project, "behind", -HOUR)
        second = project.daemon("b")
        until("both have a part", lambda: owned_by(project, first.pid) * owned_by(project, second.pid) > 0, 30)
        for seconds in (HOUR, -HOUR, 0) * project.many(1, 5, 20):
            before = server_time(project)
            set_clock(project.folder / "clock-postgres", seconds)
            result.fired += abs(server_time(project) - before) > HOUR / 2
            result.recovered(next_commit(project, time.monotonic()), BACK)
            project.writers.until_acknowledged(30)
            # Whoever hangs now is replaced as at any other time.
            first.freeze()
            set_clock(project.folder / "clock-postgres", seconds - HOUR // 2)
            begun = time.monotonic()
            until("the other has everything", lambda: owned_by(project, second.pid) == 4, 30)
            project.caught_up()
            result.recovered(time.monotonic() - begun, TAKEN_OVER)
            first.thaw()
            until("both have a part", lambda: owned_by(project, first.pid) > 0, 30)
        own_verdict(project)
    finally:
        postgres.kill()


def server_time(project: Project) -> float:
    """What the server takes the time to be, in seconds."""
    return float(project.value("select extract(epoch from clock_timestamp())"))


@row("F26", "RethinkDB's nodes disagree about the time, by an hour", on=(RETHINK,))
def clocks_of_rethinkdb(project: Project) -> None:
    """Each connection leads to a node with a clock of its own, and new ones to others."""
    result = project.result
    proxy = Proxy(project.rethink.port, lambda: RethinkTalk(project.random.choice((0, HOUR, -HOUR))))  # type: ignore[union-attr]
    project.rethink_port = proxy.port
    daemon = project.begin(direct=False)
    for number in range(project.many(8, 60, 300)):
        if number % 2:
            daemon.kill()
            project.writers.until_acknowledged(30)
            daemon = project.daemon()
        else:
            proxy.reset()
        begun = time.monotonic()
        project.writers.until_acknowledged(30)
        project.caught_up(within=20)
        result.recovered(time.monotonic() - begun, BACK)
    spread = "select extract(epoch from max(recorded_at) - min(recorded_at))::bigint from projectord.events"
    result.fired += project.value(spread) > HOUR
    result.note(f"recorded within {project.value(spread)} s")
