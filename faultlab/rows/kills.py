"""F01, F02: the daemon is killed, again and again: at random, and at each point that has a name."""

import signal

from ..outcome import NotHere
from ..project import Project
from ..proxy import pause
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until

# After a restart everything that was acknowledged before it must be in the rows within this time.
CAUGHT_UP = 2.0


@row("F01", "kill -9 of the daemon at random under load", on=(POSTGRES, RETHINK))
def killed(project: Project) -> None:
    result = project.result
    daemon = project.begin()
    for _ in range(project.many(15, 300, 3000)):
        # At any time: in a batch, between two, while it starts, before it has any lease.
        pause(project.random.choice((0.02, 0.1, 0.4, 1.2)) * project.random.uniform(0.5, 1.5))
        before = project.head()
        result.fired += daemon.kill()
        # It was killed under load where the log grew since, or was about to.
        project.writers.until_acknowledged(5)
        daemon = project.daemon()
        if project.random.random() < 0.7:
            result.recovered(project.caught_up(), CAUGHT_UP)
        result.expect(project.head() >= before, "the log's head went back")


POINTS = ("migrate", "batch-before", "batch-after", "pass-before", "pass-after", "rebuild-drop",
          "rebuild-commit", "rebuild-committed", "build-commit", "build-committed", "swap-before", "swap-after")  # fmt: skip
# In the place of the live rows, and beside them.
ASKED = {"rebuild": ("rebuild", "chain", "--in-place", "--yes"), "build": ("rebuild", "chain"), "swap": ("rebuild", "chain")}
# Only ingest passes these.
STORE_POINTS = ("ingest-fetched", "ingest-added")


@row("F02", "kill -9 at each named point", on=(POSTGRES, RETHINK), alone=True)
def killed_at_each_point(project: Project) -> None:
    result = project.result
    if b"batch-before" not in project.lab.binary.read_bytes():
        raise NotHere("the binary has no crash points: build it with the feature failpoints")
    project.begin().kill()
    for point in (POINTS + (STORE_POINTS if project.rethink else ())) * project.many(1, 10, 50):
        asks = ASKED.get(point.split("-")[0])
        if asks:
            asked_for = project.cli(*asks).returncode
            result.expect(asked_for in (0, 4), f"rebuild: {asked_for}")
        # The first time that it is passed, or any later one.
        later = 0 if asks or point == "migrate" else project.random.randrange(20)
        daemon = project.daemon(FAILPOINTS=f"{point}={later}*off->return" if later else f"{point}=return")
        code = daemon.ended_within(20)
        result.expect(code == -signal.SIGKILL, f"{point}: ended with {code}")
        result.fired += code == -signal.SIGKILL
        project.writers.until_acknowledged(5)
        daemon = project.daemon()
        result.recovered(project.caught_up(), CAUGHT_UP)
        if asks:
            # Or the next one that is asked for is refused, since this one goes on.
            under_way = ("select count(*) from projectord.projections p where rebuild_wanted is not null or exists"
                         " (select from projectord.generations g where g.projection = p.name and g.state = 'building')")  # fmt: skip
            until("no rebuild is under way", lambda: project.value(under_way) == 0, 30)
        daemon.kill()
