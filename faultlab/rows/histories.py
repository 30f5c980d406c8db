"""F16, F25: databases that are put back, and stores that are not the one that they were."""

import shutil
import subprocess
import time
from typing import Dict, Optional

from rethinkdb import r

from ..project import Project
from ..proxy import Proxy
from ..registry import row
from ..servers import Postgres
from ..waiting import until
from .postgres import next_commit


def cluster_of_its_own(project: Project, environment: Optional[Dict[str, str]] = None) -> Postgres:
    """What is put back here takes all databases of the cluster along."""
    own = Postgres(project.folder / "pg").make()
    own.environment.update(environment or {})
    own.start()
    with own.connect("postgres") as admin:
        admin.execute(f"create database {project.name}")
    project.postgres = own
    return own


@row("F16", "PostgreSQL put back to an older backup; a failover that loses", checked=False)
def put_back(project: Project) -> None:
    result = project.result
    primary = cluster_of_its_own(project)
    copy = project.folder / "pg" / "copy"
    try:
        project.begin()
        for _ in range(project.many(2, 10, 50)):
            primary.stop_fast()
            shutil.rmtree(copy, ignore_errors=True)
            subprocess.run(["cp", "-a", str(primary.data), str(copy)], check=True)
            primary.start()
            next_commit(project, time.monotonic())
            project.writers.until_acknowledged(200)
            project.caught_up()
            lost = project.head()
            primary.kill()
            # No sample may lie between the old and the older state.
            project.sampler.forget()
            shutil.rmtree(primary.data)
            subprocess.run(["cp", "-a", str(copy), str(primary.data)], check=True)
            (primary.data / "postmaster.pid").unlink(missing_ok=True)
            project.sampler.forget()
            primary.start()
            result.fired += project.head() < lost
            begun = time.monotonic()
            project.caught_up()
            result.recovered(time.monotonic() - begun, 15)
        failover(project, primary)
    except BaseException:
        primary.kill()
        raise
    own_verdict(project)


def failover(project: Project, primary: Postgres) -> None:
    """A standby behind a network that fails first: what it has not got is lost when it takes over."""
    network = Proxy(primary.port)
    standby = Postgres(project.folder / "standby")
    standby.password = primary.password
    standby.run("pg_basebackup", "-h", "127.0.0.1", "-p", str(network.port), "-U", "projectord", "-R",
                "-c", "fast", "-D", str(standby.data))  # fmt: skip
    with (standby.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = 'host=127.0.0.1 port={network.port} user=projectord password={primary.password}'\n")
    standby.start()
    until("the standby follows", lambda: standby_head(project, standby) > 0, 30)
    network.blackhole()
    before = standby_head(project, standby)
    project.writers.until_acknowledged(200)
    project.caught_up()
    lost = project.head()
    primary.kill()
    network.close()
    project.sampler.forget()
    # What was the primary's address leads to the standby now, as after a change of DNS.
    front = Proxy(standby.port)
    standby.run("pg_ctl", "promote", "-D", str(standby.data))
    until("the standby takes writes", lambda: writable(standby), 30)
    project.postgres = standby
    project.postgres_port = front.port
    project.result.fired += standby_head(project, standby) < lost and before > 0
    for daemon in [it for it in project.daemons if it.alive()]:
        daemon.stop()
    begun = time.monotonic()
    project.daemon()
    project.caught_up()
    project.result.recovered(time.monotonic() - begun, 15)


def writable(server: Postgres) -> bool:
    with server.connect("postgres") as connection:
        return connection.execute("select not pg_is_in_recovery()").fetchone() == (True,)


def standby_head(project: Project, standby: Postgres) -> int:
    with standby.connect(project.name) as connection:
        return int(connection.execute("select position from projectord.log_head").fetchone()[0])


def own_verdict(project: Project) -> None:
    """Judged while the row's own server stands, which ends with the row."""
    from ..verdict import judge

    try:
        judge(project)
    finally:
        project.sampler.stop()
        project.postgres.kill()


@row("F25", "store made anew, put back to an old dump, another one")
def another_store(project: Project) -> None:
    project.begin()
    project.writers.stop()
    project.caught_up()
    database = r.db(project.name)
    kept = {name: asked(project, database.table(name).coerce_to("array")) for name in ("events", "aggregates")}

    newest = [document["id"] for document in sorted(kept["events"], key=lambda it: it["recorded_at"])[-3:]]
    asked(project, database.table("events").get_all(r.args(newest)).delete())
    refused(project, "an old dump")
    asked(project, database.table("events").insert(kept["events"], conflict="replace"))
    accepted_again(project)

    asked(project, database.table("aggregates").get("meta").update({"store_id": "00000000-0000-4000-8000-000000000000"}))
    refused(project, "another store behind the same URL")
    asked(project, database.table("aggregates").insert(kept["aggregates"], conflict="replace"))
    accepted_again(project)

    asked(project, r.db_drop(project.name))
    refused(project, "a store that is gone")
    project.ok("setup")
    refused(project, "a store made anew")
    asked(project, database.table("events").insert(kept["events"], conflict="replace"))
    asked(project, database.table("aggregates").insert(kept["aggregates"], conflict="replace"))
    accepted_again(project)
    project.writers.start(project.store_url())
    project.writers.until_acknowledged(50)


def asked(project: Project, term):  # type: ignore[no-untyped-def]
    connection = project.rethink.connect()  # type: ignore[union-attr]
    try:
        return term.run(connection)
    finally:
        connection.close()


def refused(project: Project, what: str) -> None:
    """A daemon that starts now, and one that runs, both stop ingest and say why; the log stays as it is."""
    head = project.head()
    for daemon in [it for it in project.daemons if it.alive()]:
        daemon.stop()
    daemon = project.daemon()
    until(f"{what} is refused", lambda: project.value("select state from projectord.ingest_status") == "halted", 30)
    project.result.fired += 1
    project.result.expect(project.value("select error from projectord.ingest_status"), f"{what}: no reason given")
    project.result.expect(project.head() == head, f"{what}: the log went from {head} to {project.head()}")
    project.result.expect(daemon.alive(), f"{what}: the daemon has ended")


def accepted_again(project: Project) -> None:
    begun = time.monotonic()
    until("ingest goes on", lambda: project.value("select state from projectord.ingest_status") == "live", 30)
    project.result.recovered(time.monotonic() - begun, 15)
