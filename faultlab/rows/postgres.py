"""F07, F08, F09, F12, F17: what a PostgreSQL does to those who live on it."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, List, Optional

from ..frames import PostgresTalk
from ..outcome import NotHere
from ..project import Project
from ..proxy import Proxy, pause
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until

# How long after the server is back the next commit may take.
BACK = 5.0


def next_commit(project: Project, since: float) -> float:
    """Waits until a checkpoint moves on; the time from `since`."""
    before = project.slowest()
    project.writers.until_acknowledged(1)
    until("the next commit", lambda: project.slowest() > before, 60, every=0.01)
    return time.monotonic() - since


@row("F07", "a backend killed, the server stopped, killed, started", on=(POSTGRES, RETHINK))
def server_falls(project: Project) -> None:
    result = project.result
    project.begin()
    server = project.postgres
    ways: List[Optional[Callable[[], None]]] = [None, server.stop_fast, server.stop_immediately, server.kill]
    for number in range(project.many(4, 40, 400)):
        way = ways[number % len(ways)]
        if way is None:
            backend_dies(project)
        else:
            way()
            pause(project.random.uniform(0.0, 1.5))
            server.start()
        server.wait()
        result.fired += 1
        result.recovered(next_commit(project, time.monotonic()), BACK)
        project.writers.until_acknowledged(20)


def backend_dies(project: Project) -> None:
    """`kill -9` of one session's process: PostgreSQL ends all sessions and recovers."""
    with project.connect() as connection:
        pid = connection.execute(
            "select pid from pg_stat_activity where application_name = 'projectord'"
            " and datname = current_database() order by random() limit 1").fetchone()[0]  # fmt: skip
        os.kill(pid, signal.SIGKILL)
        until("the session of ours is ended, too", lambda: not answers(connection), 30)


def answers(connection) -> bool:  # type: ignore[no-untyped-def]
    try:
        connection.execute("select 1")
        return True
    except Exception:
        return False


@row("F08", "pg_terminate_backend in a loop", on=(POSTGRES, RETHINK))
def sessions_ended(project: Project) -> None:
    result = project.result
    daemon = project.begin()
    until_fired = project.many(60, 1000, 10_000)
    while result.fired < until_fired:
        # In the middle of a statement where there is one, since that is where it hurts.
        ended = project.value(
            "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity"
            " where application_name = 'projectord' and datname = current_database()"
            " order by state = 'active' desc, random() limit 1) one")  # fmt: skip
        result.fired += ended
        if result.fired % 20 == 0:
            begun = time.monotonic()
            result.recovered(next_commit(project, begun), BACK)
        pause(project.random.uniform(0.0, 0.1))
    result.expect(daemon.alive(), "the daemon has ended")


@row("F09", "the reply to apply is lost after its commit", on=(POSTGRES,))
def reply_lost(project: Project) -> None:
    result = project.result
    proxy = Proxy(project.postgres.port, PostgresTalk)
    project.postgres_port = proxy.port
    daemon = project.begin()
    for number in range(project.many(10, 200, 2000)):
        # Not only the batch: also the heartbeat and whatever else is said once.
        said = ("projectord.apply", "projectord.apply", "projectord.keep_leases", "projectord.claim")[number % 4]
        before = proxy.replies_dropped
        proxy.drop_reply_to(said)
        if "claim" in said:
            proxy.reset()
        until(f"the reply to {said} is dropped", lambda: proxy.replies_dropped > before, 30)
        begun = time.monotonic()
        result.recovered(next_commit(project, begun), BACK)
    result.fired = proxy.replies_dropped
    for _ in range(project.many(3, 20, 100)):
        still_committing(project, proxy)
        result.recovered(next_commit(project, time.monotonic()), BACK)
        result.fired += 1
    result.expect(daemon.alive(), "the daemon has ended")


def still_committing(project: Project, proxy: Proxy) -> None:
    """A batch waits in its commit, where deferred triggers are run, while the daemon comes back on a new connection."""
    waits = ("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'projectord'"
             " and wait_event_type = 'Lock' and ")  # fmt: skip
    with project.connect() as admin, project.connect() as holder:
        holder.execute("select pg_advisory_lock(9)")
        try:
            admin.execute("""
                create function public.wait_in_commit() returns trigger language plpgsql as $$
                begin perform pg_advisory_xact_lock(9); return null; end $$;
                create constraint trigger wait_in_commit after insert or update on counter.counters
                    deferrable initially deferred for each row execute function public.wait_in_commit()""")
            batch = waits + "wait_event = 'advisory' and query like '%%projectord.apply%%'"
            until("a batch waits in its commit", lambda: project.value(batch) > 0, 15)
            proxy.reset()
            until("the daemon waits for it", lambda: project.value(waits + "query like '%%projectord.claim%%'") > 0, 15)
        finally:
            holder.execute("select pg_advisory_unlock(9)")
            admin.execute("drop function public.wait_in_commit cascade")


@row("F12", "ACCESS EXCLUSIVE on one read table", on=(POSTGRES,))
def table_locked(project: Project) -> None:
    result = project.result
    project.begin()
    seconds = project.many(6, 60, 60)
    with project.connect() as holder, holder.transaction():
        holder.execute("lock table state.states in access exclusive mode")
        before = others(project)
        written = project.writers.acknowledged()
        result.fired += 1
        pause(seconds)
        moved = others(project) - before
        written = project.writers.acknowledged() - written
        result.expect(moved >= 0.95 * written - 50, f"the others applied {moved} of {written} events meanwhile")
    begun = time.monotonic()
    project.caught_up()
    result.recovered(time.monotonic() - begun, BACK)


def others(project: Project) -> int:
    return int(project.value("select min(checkpoint) from projectord.generations where projection <> 'state'"))


def fill(ballast: Path) -> None:
    """Takes all space that there is."""
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
            file.flush()


@row("F14", "PostgreSQL's disk is full", on=(POSTGRES,), checked=False)
def disk_full(project: Project) -> None:
    """All tables of this row lie on a small file system, which is filled; the WAL lies elsewhere."""
    result = project.result
    space = project.folder / "space"
    space.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=200m,uid={project.postgres.user or 0}", "lab", str(space)], capture_output=True)
    if mounted.returncode:
        raise NotHere("a disk that is full needs a file system of its own, which only root can make")
    try:
        with project.postgres.connect("postgres") as admin:
            admin.execute(f"create tablespace {project.name} location '{space}'")
            admin.execute(f"alter database {project.name} set tablespace {project.name}")
        daemon = project.begin(rate=200)
        ballast = space / "ballast"
        for _ in range(project.many(1, 5, 20)):
            said = len(project.postgres.log.read_text())
            # A session of before: with a full disk, PostgreSQL may be unable to let another in.
            with project.connect() as session:
                stored = project.head()
                fill(ballast)
                full = lambda: "No space left" in project.postgres.log.read_text()[said:]  # noqa: E731
                until("PostgreSQL says that its disk is full", full, 60)
                result.fired += 1
                pause(project.many(3, 20, 20))
                head, not_ready = session.execute(
                    "select h.position, (select count(*) from projectord.daemons where not ready)"
                    " from projectord.log_head h").fetchone()  # fmt: skip
                result.note(f"{head - stored} events on what was left; {not_ready} not ready")
            ballast.unlink()
            result.recovered(next_commit(project, time.monotonic()), 10)
        result.expect(daemon.alive(), "the daemon has ended")
        own_verdict(project)
    finally:
        project.close()
        with project.postgres.connect("postgres") as admin:
            admin.execute(f"drop database {project.name} with (force)")
            admin.execute(f"drop tablespace if exists {project.name}")
        subprocess.run(["umount", str(space)], check=True)


def own_verdict(project: Project) -> None:
    """Judged here, because what the row lives on ends with it."""
    from ..verdict import judge

    judge(project)


@row("F17", "a checkpoint deleted, set ahead, set back by hand", on=(POSTGRES,), checked=True)
def checkpoint_edited(project: Project) -> None:
    result = project.result
    project.begin()
    edits = {
        "audit": ("update projectord.generations set checkpoint = checkpoint - 20 where projection = 'audit'", "PJ009"),
        "counter": ("update projectord.generations set checkpoint = 1000000000 where projection = 'counter'", "PJ00"),
        "chain": ("delete from projectord.generations where projection = 'chain'", "PJ008"),
    }
    project.sampler.stop()
    for name, (edit, _) in edits.items():
        with project.connect() as connection:
            connection.execute(edit)
            connection.execute("select pg_notify('projectord_control', '')")
        result.fired += 1
        state = f"select state from projectord.projections where name = '{name}'"
        if name == "chain":
            # Its generation's row is gone, so it is known by nothing but its projection.
            until("it is halted or built anew", lambda: project.value(state) in ("halted", "live"), 20)
        else:
            until(f"{name} is halted", lambda: project.value(state) == "halted", 20)
    for name, (_, code) in edits.items():
        if project.value("select state from projectord.projections where name = %s", name) == "halted":
            error = project.value("select error::text from projectord.projections where name = %s", name)
            result.expect(code in error, f"{name} is halted, and does not say {code}: {error}")
    audited = project.cli("audit")
    result.expect(audited.returncode == 1, f"projectord audit overlooked the edits: {audited.stdout}")
    for name in edits:
        begun = time.monotonic()
        done = project.cli("rebuild", name, "--yes", "--wait")
        result.expect(done.returncode == 0, f"rebuild of {name} after the edit: {done.stderr.strip()}")
        result.recoveries.append(time.monotonic() - begun)
