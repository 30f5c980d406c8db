"""F03, F04, F28: daemons that are told to stop, that are stopped in the middle, and that share the work."""

import time

from ..processes import accepts
from ..project import PROJECTIONS, Project
from ..proxy import Proxy, pause
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until

# How long a daemon may take to end in order.
DRAINED = 5.0
# How long until another daemon has the work of one that is gone without a word.
TAKEN_OVER = 10.0


def told_once(project: Project) -> None:
    """SIGTERM under load: exit code 0 within the drain time; the next one goes on."""
    daemon = project.begin()
    longest = 0.0
    for _ in range(project.many(3, 20, 100)):
        pause(project.random.uniform(0.05, 0.6))
        code, seconds = daemon.stop()
        longest = max(longest, seconds)
        project.result.fired += 1
        project.result.expect(code == 0 and seconds <= DRAINED, f"SIGTERM under load: {code} after {seconds:.1f} s")
        daemon = project.daemon()
        project.result.recovered(project.caught_up(), 3.0)
    project.result.note(f"SIGTERM to exit {longest:.2f} s at most")


def told_twice(project: Project) -> None:
    """A second signal ends it at once: also while the first one waits for a server that does not answer."""
    proxy = Proxy(project.postgres.port)
    project.postgres_port = proxy.port
    daemon = project.daemon()
    project.postgres_port = None
    project.caught_up()
    proxy.blackhole()
    daemon.term()
    # Two signals of one kind are one to a process that has not seen the first.
    until("it has seen the first one", lambda: "a second signal ends at once" in daemon.log(), 3)
    until("it drains", lambda: proxy.held_back > 0, 3)
    if daemon.alive():
        begun = time.monotonic()
        daemon.term()
        code, seconds = daemon.ended_within(DRAINED), time.monotonic() - begun
        project.result.expect(code == 1 and seconds < 0.5 * project.result.slack, f"a second SIGTERM: ended with {code} after {seconds:.1f} s")
        project.result.fired += 1
    proxy.heal()


@row("F03", "SIGTERM under load, twice, without Postgres, with backlog", on=(POSTGRES, RETHINK))
def told_to_stop(project: Project) -> None:
    result = project.result
    told_once(project)
    project.daemons[-1].stop()
    told_twice(project)
    daemon = project.daemon()
    project.caught_up()

    project.writers.stop()
    project.postgres.stop_immediately()
    code, seconds = daemon.stop()
    result.expect(code == 0 and seconds <= DRAINED, f"SIGTERM without Postgres: {code} after {seconds:.1f} s")
    waits = project.daemon()
    until("it says that Postgres is not ready", lambda: "not ready" in waits.log(), 20)
    code, seconds = waits.stop()
    result.expect(code == 0 and seconds <= DRAINED, f"SIGTERM while it waits for Postgres: {code} after {seconds:.1f} s")
    project.postgres.start()
    result.fired += 2

    # With a backlog, it ends before it is through.
    backlog = project.many(6_000, 100_000, 100_000) // 3
    project.writers.start(project.store_url(), "--writers", "16", "--appends", str(backlog), rate=100_000)
    project.writers.wait(within=900)
    before = project.slowest()
    daemon = project.daemon()
    until("it has begun with the backlog", lambda: project.slowest() > before, 30, every=0.005)
    code, seconds = daemon.stop()
    result.expect(code == 0 and seconds <= DRAINED, f"SIGTERM with backlog: {code} after {seconds:.1f} s")
    result.fired += 1
    result.note(f"{backlog} appends of backlog, {project.writers.acknowledged() - project.slowest()} events left")


@row("F04", "SIGSTOP of an owner while another takes over, SIGCONT")
def frozen(project: Project) -> None:
    result = project.result
    # Most of a batch's time lies between the decision to send it and sending it: that is where they are stopped.
    project.environment["FAILPOINTS"] = "batch-before=sleep(100)"
    first = project.begin(rate=50)
    second = project.daemon("b")
    until("the second daemon has its part", lambda: owned_by(project, second.pid) > 0, 20)
    for round_ in range(project.many(1, 10, 50)):
        frozen, other = (first, second) if round_ % 2 == 0 else (second, first)
        until("both have a part", lambda: owned_by(project, frozen.pid) * owned_by(project, other.pid) > 0, 30)
        frozen.freeze()
        result.fired += 1
        begun = time.monotonic()
        everything = len(PROJECTIONS) + 1
        until("the other has everything", lambda: owned_by(project, other.pid) == everything, 30)
        project.caught_up()
        result.recovered(time.monotonic() - begun, TAKEN_OVER)
        project.writers.until_acknowledged(200)
        pause(max(0.0, project.many(10, 30, 30) - (time.monotonic() - begun)))
        seen = len(frozen.log())
        frozen.thaw()
        until("the stale owner says that it is one", lambda: stepped_down(frozen.log()[seen:]), 20)
        project.writers.until_acknowledged(100)
    refusals = project.value("select sum(refusals) from projectord.leases")
    result.note(f"{refusals} refused by the fence")


def stepped_down(log: str) -> bool:
    return "the lease is lost" in log or "giving them up" in log or "somebody else" in log.lower()


def owned_by(project: Project, pid: int) -> int:
    """How many leases a daemon has that are good."""
    return int(project.value(
        "select count(*) from projectord.leases l join projectord.daemons d on d.id = l.owner"
        " where d.pid = %s and l.expires_at > clock_timestamp()", pid))  # fmt: skip


@row("F28", "two daemons start at once; the leader loses its network", on=(POSTGRES, RETHINK))
def two_at_once(project: Project) -> None:
    result = project.result
    project.begin().kill()
    for _ in range(project.many(5, 100, 500)):
        both = [project.daemon("a"), project.daemon("b")]
        project.writers.until_acknowledged(20)
        project.caught_up()
        result.fired += 1
        for daemon in both:
            daemon.kill()

    # One of two sees nothing of PostgreSQL any more; the server does not know it yet either.
    proxy = Proxy(project.postgres.port)
    project.postgres_port = proxy.port
    cut_off = project.daemon("cut-off")
    project.postgres_port = None
    project.caught_up()
    until("it owns everything", lambda: owned_by(project, cut_off.pid) >= len(PROJECTIONS), 20)
    other = project.daemon("b")
    until("the other runs", lambda: owned_by(project, other.pid) > 0, 20)
    for _ in range(project.many(1, 10, 50)):
        until("it owns something", lambda: owned_by(project, cut_off.pid) > 0, 30)
        proxy.blackhole()
        begun = time.monotonic()
        until("the other has taken over", lambda: owned_by(project, cut_off.pid) == 0, 30)
        until("and owns it", lambda: owned_by(project, other.pid) >= len(PROJECTIONS), 30)
        project.caught_up()
        result.recovered(time.monotonic() - begun, TAKEN_OVER)
        result.fired += 1
        proxy.heal()
        project.writers.until_acknowledged(50)
    project.writers.stop()
    # The proxy stays: the daemon behind it has to end in order, too.
    result.expect(accepts(proxy.port), "the proxy is gone")
