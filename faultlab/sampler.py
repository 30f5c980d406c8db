"""Looks while the faults happen: what must hold at every moment, not only at the end."""

import threading
import time
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

import psycopg

if TYPE_CHECKING:
    from .project import Project

EVERY = 0.1
# The daemon promises to notice a stall within 30 s; the rest is for a machine that has more to do.
STALL = 35.0

SNAPSHOT = """
    select g.generation, g.checkpoint, (select count(*) from audit.arrivals),
           (select count(*) from projectord.events e where e.position <= g.checkpoint),
           (select position from projectord.log_head)
      from projectord.projections p
      join projectord.generations g on g.projection = p.name and g.generation = p.generation
     where p.name = 'audit'
"""
NEWEST = """
    select e.commit_id, count(*) from projectord.events e
     where e.commit_id = (select commit_id from projectord.events order by position desc limit 1)
       and e.position > (select position from projectord.log_head) - 1000 group by e.commit_id
"""
READY = """
    select p.name, g.checkpoint, (select position from projectord.log_head), d.ready,
           p.wanted = 'running' and p.state <> 'halted', d.seen_at > clock_timestamp() - interval '5 seconds'
      from projectord.projections p
      join projectord.generations g on g.projection = p.name and g.generation = p.generation
      join projectord.leases l on l.name = p.name
      join projectord.daemons d on d.id = l.owner
"""
EPOCHS = """
    select 'lease of ' || name, epoch from projectord.leases
     union all select 'checkpoint of ' || projection, max(epoch) from projectord.generations group by projection
"""


class Sampler:
    """A thread with a session of its own. It makes do with a server that is away."""

    def __init__(self, project: "Project") -> None:
        self.project = project
        self.samples = 0
        self.ended = threading.Event()
        self.thread: Optional[threading.Thread] = None
        self.highest: Dict[str, int] = {}
        # How many events of a commit were in the log when it was first seen there.
        self.commits: Dict[str, int] = {}
        self.stalls: Dict[str, Tuple[int, float]] = {}

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.ended.set()
        if self.thread:
            self.thread.join(20)

    def forget(self) -> None:
        """The database was put back to an older state: from here on it goes forward again."""
        self.highest.clear()
        self.commits.clear()

    def _run(self) -> None:
        while not self.ended.is_set():
            try:
                with self.project.postgres.connect(self.project.name, options="-c statement_timeout=5000") as session:
                    while not self.ended.wait(EVERY):
                        self._look(session)
                        self.samples += 1
            except psycopg.Error:
                self.ended.wait(EVERY)

    def _look(self, session: "psycopg.Connection") -> None:
        seen = self._snapshot(session)
        if seen:
            generation, checkpoint, rows, events, head = seen
            self._never_back("the log's head", head)
            if rows != events or checkpoint > head:
                # A rebuild between the look at the catalogue and the look at the rows is no fault.
                again = self._snapshot(session)
                if again and again[0] == generation:
                    self._wrong(f"checkpoint {checkpoint}, {events} events up to it, head {head}, and {rows} rows")
        for commit, events in session.execute(NEWEST).fetchall():
            self.commits.setdefault(str(commit), events)
        for name, epoch in session.execute(EPOCHS).fetchall():
            self._never_back(f"the epoch of the {name}", epoch)
        for row in session.execute(READY).fetchall():
            self._ready(*row)

    def _snapshot(self, session: "psycopg.Connection") -> Optional[Tuple[Any, ...]]:
        try:
            with session.transaction():
                session.execute("set transaction isolation level repeatable read, read only")
                return session.execute(SNAPSHOT).fetchone()
        except psycopg.errors.UndefinedTable:
            return None

    def _never_back(self, what: str, now: int) -> None:
        before = self.highest.get(what, 0)
        if now < before:
            self._wrong(f"{what} went back from {before} to {now}")
        self.highest[what] = now

    def _ready(self, name: str, checkpoint: int, head: int, ready: bool, runs: bool, seen: bool) -> None:
        """`ready` against a stall that is measured here."""
        at, since = self.stalls.get(name, (-1, 0.0))
        now = time.monotonic()
        if not runs or not seen or checkpoint >= head or checkpoint != at:
            self.stalls[name] = (checkpoint, now)
        elif ready and now - since > STALL:
            self._wrong(f"{name} stands at {checkpoint} of {head} for {now - since:.0f} s, and its daemon is ready")

    def _wrong(self, what: str) -> None:
        if len(self.project.result.violations) < 20:
            self.project.result.violations.append(f"during the run: {what}")
