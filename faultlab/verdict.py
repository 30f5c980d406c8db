"""The end of every row: let it settle, check, rebuild, check again, stop, and look at what is left behind."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from . import checker, history
from .project import PROJECTIONS
from .waiting import until

if TYPE_CHECKING:
    from .project import Project

MARK = "lab-payload"
# Errors that tell of a bug, whatever the row does to the daemon.
PANIC = re.compile(r"panicked at|RUST_BACKTRACE")


def judge(project: "Project") -> None:
    """Whatever the row has left running, this takes to its end."""
    result = project.result
    project.writers.stop()
    if not any(daemon.alive() for daemon in project.daemons):
        project.daemon()
    events = len(history.store(project))
    patience = 90 + events / 2000
    until("the log has the whole store", lambda: project.head() >= events, patience)
    project.caught_up(events, within=patience)
    checker.check(project)
    audit(project)
    with ThreadPoolExecutor() as askers:
        rebuilt = askers.map(lambda name: (name, project.cli("rebuild", name, "--yes", "--wait", within=30 + patience)), PROJECTIONS)
    for name, done in rebuilt:
        result.expect(done.returncode == 0, f"rebuild of {name}: {done.returncode}: {done.stderr.strip()}")
    project.caught_up(events, within=patience)
    checker.read_models(project, history.log(project))
    audit(project)
    retired = "select count(*) from projectord.generations where state <> 'live'"
    until("the rows that were replaced are dropped", lambda: project.value(retired) == 0, 30)
    project.sampler.stop()
    result.expect(project.sampler.samples > 0, "the sampler has seen nothing")
    for daemon in [it for it in project.daemons if it.alive()]:
        code, seconds = daemon.stop()
        result.expect(code == 0, f"SIGTERM when all was quiet: ended with {code} after {seconds:.1f} s")
    left_behind(project)
    logs(project)


def audit(project: "Project") -> None:
    """The daemon's own proof must come to the same end as ours."""
    done: "subprocess.CompletedProcess[str]" = project.cli("audit")
    project.result.expect(done.returncode == 0, f"projectord audit: {done.returncode}: {done.stdout}{done.stderr}")


def left_behind(project: "Project") -> None:
    """No schema, no session, no lock."""
    result = project.result
    with project.connect() as connection:
        known = {"projectord", "public", "information_schema", *PROJECTIONS}
        rows = connection.execute("select nspname from pg_namespace where nspname !~ '^pg_'").fetchall()
        result.expect({row[0] for row in rows} <= known, f"schemas left behind: {sorted({row[0] for row in rows} - known)}")
        sessions = (
            "select state, query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            " and application_name = 'projectord'"
        )
        # A session that was cut off without a word goes when keepalive notices.
        until("no session of a dead daemon", lambda: not connection.execute(sessions).fetchall(), 30)
        locks = connection.execute("select count(*) from pg_locks where not granted").fetchone()
        result.expect(locks == (0,), f"locks that somebody waits for: {locks}")
        generations = connection.execute("select count(*) from projectord.generations").fetchone()
        result.expect(generations == (len(PROJECTIONS),), f"generations left behind: {generations}")


def logs(project: "Project") -> None:
    """No password, no payload, no panic."""
    secrets = [project.lab.postgres.password] + ([project.lab.rethink.password] if project.lab.rethink else [])
    for file in sorted(project.folder.glob("daemon-*.log")):
        text = file.read_text(errors="replace")
        project.result.expect(MARK not in text, f"{file.name} shows a payload")
        project.result.expect(not any(secret in text for secret in secrets), f"{file.name} shows a password")
        project.result.expect(project.panics or not PANIC.search(text), f"{file.name} tells of a panic")
