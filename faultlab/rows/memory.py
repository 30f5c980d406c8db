"""F06: a long backlog, and a PostgreSQL that takes its time: memory stays what it is."""

import time

from ..frames import PostgresTalk
from ..project import Project
from ..proxy import Proxy, pause
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until

# The most memory that the daemon may take, in MiB.
MOST = 256.0
# How long PostgreSQL takes to answer what writes.
SLOW = 0.5


@row("F06", "a backlog, and PostgreSQL at 500 ms a commit", on=(POSTGRES, RETHINK), alone=True)
def slow_commits(project: Project) -> None:
    result = project.result
    appends = project.many(2_000, 170_000, 170_000)
    much = ("--writers", "16", "--streams", "400", "--appends", str(appends), "--most", "25")
    project.writers.start(project.store_url(), *much, rate=1_000_000)
    project.writers.wait(within=1800)
    backlog = project.writers.acknowledged()
    proxy = Proxy(project.postgres.port, PostgresTalk)
    project.postgres_port = proxy.port
    proxy.commit_delay = SLOW
    daemon = project.daemon()
    until("it has begun", lambda: project.slowest() > 0, 120)
    before, begun = project.slowest(), time.monotonic()
    pause(project.many(2, 60, 60))
    slowly = (project.slowest() - before) / (time.monotonic() - begun)
    left = backlog - project.slowest()
    result.fired += left > 0
    proxy.commit_delay = 0.0
    begun = time.monotonic()
    project.caught_up(within=1800)
    result.note(f"{backlog} events, {left} left after {slowly:.0f}/s, the rest in {time.monotonic() - begun:.0f} s")
    peak = daemon.peak_mib()
    result.note(f"peak {peak:.0f} MiB")
    project.sampler.start()
    result.expect(peak <= MOST, f"the daemon took {peak:.0f} MiB")
