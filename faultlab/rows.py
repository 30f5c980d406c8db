"""The faults, one function each. A row does its worst to a lab whose writers write; whoever called it then waits
until everything has caught up, and checks. `fired` counts how often the fault really happened."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import psycopg

from lab import Lab
from proxy import Proxy
from servers import until


class Profile(NamedTuple):
    kills: int
    rounds: int
    outage: float


PROFILES = {
    "quick": Profile(kills=12, rounds=3, outage=4),
    "full": Profile(kills=300, rounds=10, outage=60),
    "release": Profile(kills=3000, rounds=30, outage=60),
}


class Row(NamedTuple):
    number: str
    what: str
    stores: tuple[str, ...]
    run: Callable[[Lab, Profile], None]
    # The longest that recovering may take, in seconds.
    bound: float


def killed(lab: Lab, profile: Profile) -> None:
    daemon = lab.start()
    lab.write()
    lab.until_busy()
    for _ in range(profile.kills):
        time.sleep(lab.random.uniform(0.05, 0.6))
        lab.kill(daemon)
        lab.fired += 1
        head = lab.head()
        daemon = lab.start()
        lab.recoveries.append(lab.until_passes(head))


def killed_at_each_point(lab: Lab, profile: Profile) -> None:
    points = ["batch-before", "batch-after", "rebuild-drop", "rebuild-commit", "rebuild-committed", "migrate"]
    points += ["ingest-fetched", "ingest-added"] if lab.rethink else []
    lab.write()
    for point in points * max(1, profile.rounds // 3):
        # One that died half-way is still wanted.
        if point.startswith("rebuild") and not lab.sql("select bool_or(rebuild_wanted) from projectord.projections")[0]:
            lab.command("rebuild", "chain", "--yes")
        passes = 0 if point.startswith(("rebuild", "migrate")) else lab.random.randrange(20)
        daemon = lab.start(FAILPOINTS=f"{point}={passes}*off->return" if passes else f"{point}=return")
        until(f"it dies at {point}", lambda dying=daemon: dying.poll() is not None)
        assert daemon.returncode == -signal.SIGKILL, f"{point}: ended with {daemon.returncode}"
        lab.daemons.remove(daemon)
        lab.fired += 1
    head = lab.head()
    lab.start()
    lab.recoveries.append(lab.until_passes(head))


def stopped(lab: Lab, profile: Profile) -> None:
    """SIGTERM under load: exit 0 within 5 s, and the next one goes on. Then with PostgreSQL gone."""
    lab.write()
    for _ in range(profile.rounds * 2):
        daemon = lab.start()
        lab.until_busy()
        begun = time.monotonic()
        lab.kill(daemon, signal.SIGTERM)
        lab.recoveries.append(time.monotonic() - begun)
        assert daemon.returncode == 0, f"SIGTERM: ended with {daemon.returncode}"
        lab.fired += 1
    for _ in range(profile.rounds):
        daemon = lab.start()
        lab.until_busy()
        lab.to_postgres.blackhole()
        begun = time.monotonic()
        lab.kill(daemon, signal.SIGTERM)
        lab.recoveries.append(time.monotonic() - begun)
        lab.to_postgres.heal()
        assert daemon.returncode == 0, f"SIGTERM without PostgreSQL: ended with {daemon.returncode}"
        lab.fired += 1
    lab.start()


def suspended(lab: Lab, profile: Profile) -> None:
    """The owner of everything is suspended until another has taken over; awake, it must not count."""
    owner = lab.start()
    lab.write()
    lab.until_busy()
    other = lab.start()
    for _ in range(profile.rounds):
        lab.until_busy()
        owner.send_signal(signal.SIGSTOP)
        lab.fired += 1
        lab.recoveries.append(lab.until_passes(lab.head()))
        time.sleep(min(profile.outage, 30) / 4)
        owner.send_signal(signal.SIGCONT)
        lab.until_busy()
        owner, other = other, owner


def postgres_restarts(lab: Lab, profile: Profile) -> None:
    lab.start()
    lab.write()
    for nth in range(profile.rounds):
        lab.until_busy()
        if nth % 3 == 0:
            lab.postgres.kill_one_backend()
            until("the server is back", lambda: answers_sql(lab))
        else:
            lab.postgres.stop("fast" if nth % 3 == 1 else "immediate")
            lab.postgres.start()
        lab.fired += 1
        lab.recoveries.append(lab.until_passes(lab.head() + 1))


def answers_sql(lab: Lab) -> bool:
    try:
        return bool(lab.sql("select 1"))
    except psycopg.Error:
        return False


def backends_ended(lab: Lab, profile: Profile) -> None:
    lab.start()
    lab.write()
    lab.until_busy()
    for _ in range(profile.kills * 5):
        ended = lab.sql("select count(pg_terminate_backend(pid)) from pg_stat_activity "
                        "where datname = current_database() and application_name = 'projectord' and pid <> pg_backend_pid()")
        lab.fired += int(ended[0])
        time.sleep(lab.random.uniform(0.01, 0.15))
    lab.recoveries.append(lab.until_passes(lab.head()))


def replies_lost(lab: Lab, profile: Profile) -> None:
    """A batch is committed, or not, and the daemon is not told."""
    lab.start()
    lab.write()
    for _ in range(profile.kills):
        lab.until_busy(5)
        lab.to_postgres.lose_reply(3)
        until("replies are lost", lambda: lab.to_postgres.lose == 0)
        lab.recoveries.append(lab.until_passes(lab.head()))
    lab.fired = lab.to_postgres.lost


def append_replies_lost(lab: Lab, profile: Profile) -> None:
    """The same for writers: the library settles by itself what became of a commit."""
    way = lab.to_rethink or lab.to_postgres
    lab.start()
    lab.write(through=way)
    for _ in range(profile.kills):
        lab.until_busy(5)
        way.lose_reply(2)
        until("replies are lost", lambda: way.lose == 0)
    lab.fired = way.lost
    lab.recoveries.append(lab.until_passes(lab.head()))


def network(lab: Lab, profile: Profile) -> None:
    """Connections reset, and connections that fall silent, towards each server in turn."""
    lab.start()
    lab.write()
    ways = [way for way in (lab.to_postgres, lab.to_rethink) if way]
    for _ in range(profile.rounds):
        for way in ways:
            lab.until_busy()
            lab.fired += way.reset()
            lab.recoveries.append(lab.until_passes(lab.head() + 1))
            lab.until_busy()
            lab.fired += way.blackhole()
            time.sleep(profile.outage)
            way.heal()
            lab.recoveries.append(lab.until_passes(lab.head() + 1))


def half_open(lab: Lab, profile: Profile) -> None:
    """The way is silent for those who are on it, and open for whoever comes anew: it must be noticed by itself."""
    lab.start()
    lab.write()
    for way in (way for way in (lab.to_postgres, lab.to_rethink) if way):
        for _ in range(profile.rounds):
            lab.until_busy()
            lab.fired += way.go_deaf()
            head = lab.lowest_checkpoint() + 200
            lab.recoveries.append(lab.until_passes(head, 60))


def rethink_killed(lab: Lab, profile: Profile) -> None:
    assert lab.rethink
    lab.start()
    lab.write()
    for _ in range(profile.kills // 2):
        lab.until_busy()
        lab.rethink.kill()
        lab.fired += 1
        lab.rethink.start()
        lab.recoveries.append(lab.until_passes(lab.head() + 1))


def two_at_once(lab: Lab, profile: Profile) -> None:
    """Two daemons start at the same instant, again and again; then the network of one of them is lost."""
    lab.write()
    lone = Proxy(lab.postgres.port)
    for _ in range(profile.kills // 2):
        both = [lab.start(lone), lab.start()]
        lab.fired += 1
        lab.until_passes(lab.head())
        for daemon in both:
            lab.kill(daemon)
    lab.start(lone)
    lab.until_busy()
    lab.start()
    lab.until_busy()
    lone.blackhole()
    lab.fired += 1
    lab.recoveries.append(lab.until_passes(lab.head()))
    lone.heal()


def rebuild_killed(lab: Lab, profile: Profile) -> None:
    daemon = lab.start()
    lab.write()
    for _ in range(profile.kills):
        lab.until_busy(5)
        lab.command("rebuild", lab.random.choice(["audit", "chain", "counter", "state"]), "--yes")
        time.sleep(lab.random.uniform(0, 0.2))
        lab.kill(daemon)
        lab.fired += 1
        head = lab.head()
        daemon = lab.start()
        lab.recoveries.append(lab.until_passes(head))


BOTH = ("postgres", "rethinkdb")
ROWS = [
    Row("F01", "kill -9 of the daemon under load", BOTH, killed, 2),
    Row("F02", "kill -9 at each named point", BOTH, killed_at_each_point, 2),
    Row("F03", "SIGTERM under load, and without PostgreSQL: time to exit", BOTH, stopped, 5),
    Row("F04", "the owner suspended, then awake", BOTH, suspended, 10),
    Row("F07", "PostgreSQL: a backend killed, fast and immediate restart", BOTH, postgres_restarts, 5),
    Row("F08", "backends ended, all of them, in a loop", BOTH, backends_ended, 5),
    Row("F09", "replies to batches lost", BOTH, replies_lost, 5),
    Row("F10", "connections reset and silent; healed to next commit", BOTH, network, 5),
    Row("F10b", "half-open connections, noticed by itself", BOTH, half_open, 20),
    Row("F18", "kill -9 of RethinkDB under load", ("rethinkdb",), rethink_killed, 15),
    Row("F21", "replies to appends lost", BOTH, append_replies_lost, 5),
    Row("F28", "two daemons at once; one loses its network", BOTH, two_at_once, 10),
    Row("F30", "kill -9 in the middle of rebuilds", BOTH, rebuild_killed, 5),
]
