"""F00: the checker itself. A judge that finds nothing wrong in what is wrong proves nothing by the other rows."""

from typing import Callable, List, Tuple

from rethinkdb import r

from .. import checker
from ..outcome import Outcome
from ..project import Project
from ..registry import POSTGRES, RETHINK, row
from .histories import asked

# What somebody does, and how it is undone.
SQL = [
    ("a row twice", "insert into audit.arrivals (position, stream_id, version, type, amount)"
     " select position, stream_id, version, type, amount from audit.arrivals order by arrival desc limit 1",
     "delete from audit.arrivals where arrival = (select max(arrival) from audit.arrivals)"),
    ("two rows in the wrong order", "update audit.arrivals set position = 3 - position where position in (1, 2)",
     "update audit.arrivals set position = 3 - position where position in (1, 2)"),
    ("a count too many", "update counter.counters set n = n + 1", "update counter.counters set n = n - 1"),
    ("a wrong hash", "update chain.chains set hash = reverse(hash)", "update chain.chains set hash = reverse(hash)"),
    ("an old value", "update state.states set amount = amount - 1", "update state.states set amount = amount + 1"),
    ("a changed event", "alter table projectord.events disable trigger all;"
     " update projectord.events set data = jsonb_set(data, '{amount}', to_jsonb((data->>'amount')::bigint + 1)) where position = 1",
     "update projectord.events set data = jsonb_set(data, '{amount}', to_jsonb((data->>'amount')::bigint - 1)) where position = 1;"
     " alter table projectord.events enable trigger all"),
    ("a hole in the log", "alter table projectord.events disable trigger all;"
     " update projectord.events set position = 1000000 where position = 2",
     "update projectord.events set position = 2 where position = 1000000;"
     " alter table projectord.events enable trigger all"),
]  # fmt: skip


@row("F00", "rows, log and store changed by hand: seen by the checker", on=(POSTGRES, RETHINK))
def checker_sees(project: Project) -> None:
    project.begin().stop()
    project.writers.stop()
    project.daemon()
    project.caught_up()
    project.daemons[-1].stop()
    # It would see what follows, as it should.
    project.sampler.stop()
    for what, break_it, mend_it in SQL:
        seen(project, what, lambda: sql(project, break_it), lambda: sql(project, mend_it))
    if project.rethink:
        for what, break_it, mend_it in in_the_store(project):
            seen(project, what, break_it, mend_it)


def sql(project: Project, text: str) -> None:
    with project.connect() as session:
        session.execute("begin;" + text + ";commit")


def in_the_store(project: Project) -> "List[Tuple[str, Callable[[], object], Callable[[], object]]]":
    events = r.db(project.name).table("events")
    newest = asked(project, events.order_by(r.desc("recorded_at")).limit(1))[0]
    phantom = {**newest, "id": newest["stream_id"] + "@0000000000900000", "commit_id": "phantom"}
    put_back = lambda: asked(project, events.insert(newest, conflict="replace"))  # noqa: E731
    return [
        ("a commit lost", lambda: asked(project, events.get(newest["id"]).delete()), put_back),
        ("a commit nobody made", lambda: asked(project, events.insert(phantom)),
         lambda: asked(project, events.get(phantom["id"]).delete())),
        ("a payload changed", lambda: asked(project, events.get(newest["id"]).update({"events": [{"type": "x", "data": {}, "metadata": {}}]})),
         put_back),
    ]  # fmt: skip


def seen(project: Project, what: str, break_it: Callable[[], object], mend_it: Callable[[], object]) -> None:
    """Looks at it with an outcome of its own, where violations are what is wanted."""
    kept, project.result = project.result, Outcome()
    break_it()
    try:
        checker.check(project)
        found = project.result.violations
    finally:
        project.result = kept
        mend_it()
    project.result.fired += 1
    project.result.expect(found, f"the checker has not seen {what}")
