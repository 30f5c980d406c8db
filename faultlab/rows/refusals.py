"""F11, F13, F15, F27: what PostgreSQL and RethinkDB refuse, for a while or until somebody acts."""

import re
import time

from rethinkdb import r

from ..project import Project
from ..proxy import Proxy, pause
from ..registry import POSTGRES, row
from ..waiting import until
from .histories import asked
from .postgres import BACK, next_commit

DEADLOCK, SERIALIZATION, LOCK = "deadlock detected", "could not serialize", "canceling statement due to lock timeout"


def said_by_postgres(project: Project, what: str) -> int:
    """How often the server has logged an error."""
    return project.postgres.log.read_text(errors="replace").count(what)


def with_setting(project: Project, setting: str) -> None:
    """Gives every session of the daemon's, from now on, a setting of the database's."""
    with project.postgres.connect("postgres") as admin:
        admin.execute(f"alter database {project.name} {setting}")
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity"
                      " where application_name = 'projectord' and datname = %s", (project.name,))  # fmt: skip


@row("F11", "deadlock, serialization, lock timeout, DDL", on=(POSTGRES,))
def in_each_others_way(project: Project) -> None:
    result = project.result
    project.begin(rate=200)
    before = {what: said_by_postgres(project, what) for what in (DEADLOCK, SERIALIZATION, LOCK)}
    for _ in range(project.many(12, 100, 500)):
        provoke_deadlock(project)
    with_setting(project, "set lock_timeout = '100ms'")
    next_commit(project, time.monotonic())
    with project.connect() as holder, holder.transaction():
        holder.execute("lock table counter.counters in access exclusive mode")
        until("a lock timeout", lambda: said_by_postgres(project, LOCK) > before[LOCK], 10)
    with_setting(project, "reset lock_timeout")
    with_setting(project, "set default_transaction_isolation = 'serializable'")
    pause(project.many(2, 20, 60))
    with_setting(project, "reset default_transaction_isolation")
    for _ in range(project.many(5, 50, 50)):
        with project.connect() as session:
            session.execute("alter table audit.arrivals add column lab integer")
            next_commit(project, time.monotonic())
            session.execute("alter table audit.arrivals drop column lab")
    result.recovered(next_commit(project, time.monotonic()), BACK)
    fired = {what: said_by_postgres(project, what) - count for what, count in before.items()}
    result.fired = sum(fired.values())
    result.expect(fired[DEADLOCK] and fired[LOCK], f"not everything fired: {fired}")
    result.note(", ".join(f"{count} × {what}" for what, count in fired.items()))


def provoke_deadlock(project: Project) -> None:
    """Lets a backlog come together, takes one row, waits until the batch waits for it, then wants what the
    batch has. The batch gives way."""
    with project.connect() as first, project.connect() as session:
        streams = [one for (one,) in session.execute("select stream_id from counter.counters").fetchall()]
        project.random.shuffle(streams)
        session.execute("set deadlock_timeout = '30s'")
        session.execute("set statement_timeout = '20s'")
        waiting = ("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                   " and application_name = 'projectord' and datname = current_database()")  # fmt: skip
        with session.transaction():
            touch = "update counter.counters set n = n where stream_id = %s"
            with first.transaction():
                first.execute("lock table counter.counters in exclusive mode")
                until("a batch waits for us", lambda: project.value(waiting) > 0, 20, every=0.01)
                project.writers.until_acknowledged(60)
            session.execute(touch, (streams[0],))
            until("a batch waits for us again", lambda: project.value(waiting) > 0, 20, every=0.01)
            for stream in streams[1:]:
                session.execute(touch, (stream,))


@row("F13", "a handler exceeds its time limit", on=(POSTGRES,))
def too_slow(project: Project) -> None:
    result = project.result
    project.settings["PROJECTORD_PROJECTOR__BATCH_TIMEOUT"] = "1s"
    daemon = project.begin()
    with project.connect() as holder, holder.transaction():
        holder.execute("lock table state.states in access exclusive mode")
        halted(project, "state", "57014")
        result.fired += 1
        tries = daemon.log().count("57014")
        pause(2)
        result.expect(daemon.log().count("57014") <= tries + 1, "tried again and again after it was halted")
    result.recovered(resumed(project, "state"), BACK)


def halted(project: Project, name: str, code: str) -> None:
    """A projection is halted, and says why."""
    state = f"select state from projectord.projections where name = '{name}'"
    until(f"{name} is halted", lambda: project.value(state) == "halted", 60)
    error = project.value("select error::text from projectord.projections where name = %s", name)
    project.result.expect(code in (error or ""), f"{name} is halted and does not say {code}: {error}")


def resumed(project: Project, name: str) -> float:
    """Somebody has put it right, and says so."""
    begun = time.monotonic()
    project.ok("resume", name)
    project.caught_up()
    return time.monotonic() - begun


@row("F15", "too many connections, no right, table and column gone", on=(POSTGRES,))
def refused(project: Project) -> None:
    result = project.result
    role, password = f"limited_{project.name}", project.postgres.password
    with project.postgres.connect("postgres") as admin:
        admin.execute(f"drop database {project.name}")
        admin.execute(f"create role {role} login password '{password}'")
        admin.execute(f"create database {project.name} owner {role}")
    url = project.postgres.url(project.name).replace("projectord:", f"{role}:", 1)
    project.settings["PROJECTORD_POSTGRES__URL"] = url
    project.ok("setup")
    daemon = project.begin()

    admin_says(project, f"alter role {role} connection limit 0")
    with_setting(project, "reset all")
    until("it says that it cannot connect", lambda: "too many connections" in daemon.log(), 30)
    result.expect(said_by_postgres(project, f'too many connections for role "{role}"'), "nobody was refused")
    admin_says(project, f"alter role {role} connection limit -1")
    result.fired += 1
    result.recovered(next_commit(project, time.monotonic()), BACK)

    wrongs = [
        ("audit", "42501", f"revoke insert on audit.arrivals from {role}", f"grant insert on audit.arrivals to {role}"),
        ("chain", "42P01", "alter table chain.chains rename to gone", "alter table chain.gone rename to chains"),
        ("counter", "42703", "alter table counter.counters rename total to gone",
         "alter table counter.counters rename gone to total"),
    ]  # fmt: skip
    for name, code, break_it, mend_it in wrongs:
        with project.connect() as session:
            session.execute(break_it)
        halted(project, name, code)
        result.fired += 1
        with project.connect() as session:
            session.execute(mend_it)
        result.recovered(resumed(project, name), BACK)
    result.expect(daemon.alive(), "the daemon has ended")


def admin_says(project: Project, sql: str) -> None:
    with project.postgres.connect("postgres") as admin:
        admin.execute(sql)


@row("F27", "RethinkDB's password changed, its permission revoked")
def store_denies(project: Project) -> None:
    result, server = project.result, project.rethink
    assert server
    proxy = Proxy(server.port)
    user = {"id": f"lab_{project.name}", "password": server.password + "x"}
    users = r.db("rethinkdb").table("users")
    asked(project, users.insert(user))
    asked(project, r.db(project.name).grant(user["id"], {"read": True, "write": True}))
    project.settings["PROJECTORD_STORE__URL"] = (
        f"rethinkdb://{user['id']}:{user['password']}@127.0.0.1:{proxy.port}/{project.name}"
    )
    daemon = project.begin()
    for reason, break_it, mend_it in (
        ("password", users.get(user["id"]).update({"password": "another"}), users.get(user["id"]).update(user)),
        ("permission", r.db(project.name).grant(user["id"], {"read": False}), r.db(project.name).grant(user["id"], {"read": True})),
    ):
        asked(project, break_it)
        proxy.reset()
        said = "select state || ': ' || coalesce(error, '') from projectord.ingest_status"
        until(f"ingest is in backoff because of the {reason}", lambda: re.match(f"backoff: .*{reason}", project.value(said)), 30)
        result.fired += 1
        asked(project, mend_it)
        # It tries again every 15 s or sooner.
        result.recovered(next_commit(project, time.monotonic()), 16)
    result.expect(daemon.alive(), "the daemon has ended")
