"""F10, F20, F21, F31: networks that reset, fall silent, and lose the answer."""

import time

from rethinkdb import r

from ..frames import PostgresTalk, RethinkTalk
from ..project import Project
from ..proxy import Proxy, pause
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until
from .postgres import BACK, next_commit

# A server that does not answer is noticed within this time.
NOTICED = 15.0


def behind_proxies(project: Project) -> "list[Proxy]":
    """Puts a proxy before each server that the daemon uses. Writers go straight."""
    proxies = [Proxy(project.postgres.port, PostgresTalk)]
    project.postgres_port = proxies[0].port
    if project.rethink:
        proxies.append(Proxy(project.rethink.port, RethinkTalk))
        project.rethink_port = proxies[1].port
    return proxies


@row("F10", "TCP reset and blackhole towards each server")
def network_gone(project: Project) -> None:
    result = project.result
    proxies = behind_proxies(project)
    daemon = project.begin()
    for proxy in proxies:
        for _ in range(project.many(5, 50, 500)):
            result.fired += proxy.reset() > 0
            result.recovered(next_commit(project, time.monotonic()), BACK)
    # The seconds of the table in `full`; here enough to be longer than what it takes to notice.
    lasting = project.many(10, 60, 60)
    for proxy in proxies:
        begun = time.monotonic()
        proxy.blackhole()
        if project.postgres_port == proxy.port:
            until("another's session would see it down or its leases gone", lambda: silent(project), NOTICED)
        else:
            until("ingest says that the store is away", lambda: ingest(project) == "backoff", NOTICED + 1)
        result.note(f"noticed after {time.monotonic() - begun:.1f} s")
        pause(max(0.0, lasting - (time.monotonic() - begun)))
        result.fired += proxy.held_back > 0
        proxy.heal()
        result.recovered(next_commit(project, time.monotonic()), BACK)
    result.expect(daemon.alive(), "the daemon has ended")


def silent(project: Project) -> bool:
    """As the database sees it: no lease is good any more."""
    return project.value("select count(*) from projectord.leases where expires_at > clock_timestamp()") == 0


def ingest(project: Project) -> str:
    return str(project.value("select state from projectord.ingest_status"))


@row("F20", "the feed: reconfigured, closed, cut off, silent")
def feed_lost(project: Project) -> None:
    result = project.result
    proxy = Proxy(project.rethink.port, RethinkTalk)  # type: ignore[union-attr]
    project.rethink_port = proxy.port
    daemon = project.begin()
    ways = (lambda: reconfigure(project), lambda: rebalance(project), proxy.reset, lambda: cut(proxy))
    for _ in range(project.many(3, 30, 300)):
        for lose in ways:
            lose()
            result.fired += 1
            result.recovered(next_commit(project, time.monotonic()), BACK)
    # Silence: the feed's connection stands, and nothing comes. New ones pass.
    repaired = project.value("select repaired from projectord.ingest_status")
    proxy.blackhole()
    pause(1.0)
    proxy.heal()
    result.fired += 1
    result.recovered(next_commit(project, time.monotonic()), NOTICED)
    result.note(f"repaired {project.value('select repaired from projectord.ingest_status') - repaired}")
    result.expect(daemon.alive(), "the daemon has ended")


def reconfigure(project: Project) -> None:
    """Shards change: every feed on the table is aborted."""
    shards = project.random.choice((1, 2, 3))
    admin(project, r.db(project.name).table("events").reconfigure(shards=shards, replicas=1))
    admin(project, r.db(project.name).table("events").wait(wait_for="all_replicas_ready", timeout=30))


def rebalance(project: Project) -> None:
    admin(project, r.db(project.name).table("events").rebalance())
    admin(project, r.db(project.name).table("events").wait(wait_for="all_replicas_ready", timeout=30))


def admin(project: Project, term) -> None:  # type: ignore[no-untyped-def]
    connection = project.rethink.connect()  # type: ignore[union-attr]
    try:
        term.run(connection)
    finally:
        connection.close()


def cut(proxy: Proxy) -> None:
    """In the middle of a frame."""
    proxy.cut_after = 300
    until("the frame is cut", lambda: proxy.cut_after is None, 10)


@row("F20B", "the feed: overflow, and lost while nothing else would find it")
def feed_alone(project: Project) -> None:
    """Without sweep and full pass, so that only what the feed's end is followed by can find what it has not said."""
    result = project.result
    project.settings.update(PROJECTORD_INGEST__SWEEP_INTERVAL="1h", PROJECTORD_INGEST__SWEEP_WINDOW="2h",
                            PROJECTORD_INGEST__FULL_PASS_INTERVAL="24h")  # fmt: skip
    proxy = Proxy(project.rethink.port, RethinkTalk)  # type: ignore[union-attr]
    project.rethink_port = proxy.port
    daemon = project.begin()
    until("the first full pass is over", lambda: "full_pass" in daemon.log() or project.head() > 0, 10)
    for _ in range(project.many(5, 100, 500)):
        project.writers.stop()
        project.caught_up()
        before = proxy.overflow()
        some(project)
        until("the feed was silenced", lambda: proxy.overflow() > before or "lost rows" in daemon.log(), 10)
        result.fired += 1
        begun = time.monotonic()
        project.caught_up(within=20)
        result.recovered(time.monotonic() - begun, BACK)

        proxy.refuse = True
        proxy.reset()
        some(project)
        proxy.refuse = False
        result.fired += 1
        begun = time.monotonic()
        project.caught_up(within=20)
        result.recovered(time.monotonic() - begun, BACK)
    result.expect(daemon.alive(), "the daemon has ended")


def some(project: Project) -> None:
    """A few appends, past the proxy."""
    project.writers.start(project.store_url(), "--appends", "6", rate=1000)
    project.writers.wait()


@row("F21", "an append applied, its reply lost", on=(POSTGRES, RETHINK))
def append_reply_lost(project: Project) -> None:
    result = project.result
    frames = RethinkTalk if project.rethink else PostgresTalk
    proxy = Proxy(project.rethink.port if project.rethink else project.postgres.port, frames)
    url = project.rethink.url(project.name, proxy.port) if project.rethink else project.postgres.url(project.name, proxy.port)
    project.sampler.start()
    project.daemon()
    project.writers.start(url, rate=60)
    project.writers.until_acknowledged(50)
    # 56 is an insert in RethinkDB's terms.
    said = "[56," if project.rethink else "append_to_stream"
    for _ in range(project.many(30, 300, 3000)):
        dropped = proxy.replies_dropped
        proxy.drop_reply_to(said)
        until("the reply is dropped", lambda: proxy.replies_dropped > dropped, 30, every=0.005)
        begun = time.monotonic()
        project.writers.until_acknowledged(3)
        result.recovered(time.monotonic() - begun, BACK)
    project.writers.stop()
    result.fired = proxy.replies_dropped
    counted = [it.result for it in project.writers.intents.values()]
    result.expect("unknown" not in counted, f"{counted.count('unknown')} appends ended unknown, and should have been settled")


@row("F31", "the feed connects again and again under load")
def feed_reconnects(project: Project) -> None:
    result = project.result
    proxy = Proxy(project.rethink.port)  # type: ignore[union-attr]
    project.rethink_port = proxy.port
    daemon = project.begin()
    project.writers.stop()
    project.writers.start(project.store_url(), "--writers", "16", "--streams", "64", rate=project.many(300, 1000, 1000))
    for _ in range(project.many(10, 1000, 1000)):
        until("the feed is open", lambda: project.value("select feed from projectord.ingest_status") == "open", 30)
        pause(project.random.uniform(0.0, 0.2))
        accepted = proxy.accepted
        result.fired += proxy.reset() > 0
        until("it has connected again", lambda: proxy.accepted > accepted, 30)
        # A long journal is read on all the while: at the end, reading it would be what takes the time.
        project.writers.acknowledged()
    begun = time.monotonic()
    project.caught_up()
    result.recovered(time.monotonic() - begun, BACK)
    result.expect(daemon.alive(), "the daemon has ended")
