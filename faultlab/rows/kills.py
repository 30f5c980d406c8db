"""F01: the daemon is killed, again and again."""

from ..project import Project
from ..proxy import pause
from ..registry import POSTGRES, RETHINK, row

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
