"""F05, F29: parts of the daemon that panic, and parts that hang."""

import time

from ..outcome import NotHere
from ..project import Project
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until
from .postgres import next_commit

# What ends is started again after five seconds.
AGAIN = 8.0
# A stall is to be noticed within this time.
NOTICED = 30.0


def needs_points(project: Project) -> None:
    if b"batch-before" not in project.lab.binary.read_bytes():
        raise NotHere("the binary has no crash points: build it with the feature failpoints")


@row("F05", "panic in a projector, in ingest, in the heartbeat", on=(POSTGRES, RETHINK))
def panics(project: Project) -> None:
    """One projector ends by a panic and comes back, the others go on. Where the daemon itself loses a task, it ends."""
    result = project.result
    needs_points(project)
    project.panics = True
    for point in ("batch-before",) + (("ingest-fetched",) if project.rethink else ()):
        project.writers.stop()
        for daemon in project.daemons:
            daemon.kill()
        daemon = project.daemon(FAILPOINTS=f"{point}=20*off->1*panic->off")
        project.writers.start(project.store_url(), rate=100)
        until("it has panicked", lambda: "ended by itself" in daemon.log(), 30)
        result.fired += 1
        begun = time.monotonic()
        project.writers.until_acknowledged(50)
        project.caught_up()
        result.recovered(time.monotonic() - begun, AGAIN)
        result.expect(daemon.alive(), f"{point}: the daemon has ended")
    daemon.kill()
    doomed = project.daemon(FAILPOINTS="heartbeat=2*off->1*panic->off")
    code = doomed.ended_within(20)
    result.expect(code == 1, f"a panic in the heartbeat: ended with {code}, and should with 1")
    result.fired += 1
    project.sampler.start()


@row("F29", "a projector hangs in the middle of its work", on=(POSTGRES,))
def wedged(project: Project) -> None:
    result = project.result
    needs_points(project)
    project.sampler.start()
    seconds = 50
    project.daemon(FAILPOINTS=f"batch-before=40*off->1*sleep({seconds * 1000})->off")
    project.writers.start(project.store_url(), rate=50)
    begun = time.monotonic()
    until("a projector stands", lambda: behind(project), 30)
    ready = "select bool_and(ready) from projectord.daemons"
    stood = time.monotonic()
    until("it says that it is not ready", lambda: project.value(ready) is False, NOTICED)
    result.recovered(time.monotonic() - stood, NOTICED)
    reasons = project.value("select reasons::text from projectord.daemons")
    result.expect("stands at" in reasons, f"not ready, and the reasons are {reasons}")
    result.fired += 1
    until("it goes on", lambda: project.value(ready) is True, seconds + 20)
    result.note(f"hung for {time.monotonic() - begun:.0f} s")
    next_commit(project, time.monotonic())


def behind(project: Project) -> bool:
    """Whether one projection is far behind the log."""
    return project.head() - project.slowest() > 50
