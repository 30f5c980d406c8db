"""F18, F22, F23, F24: what happens to the store and to those who write to it."""

import json
import signal
import subprocess
import time
import uuid
from collections import Counter
from typing import List

from rethinkdb import r

from .. import history
from ..held_disk import HeldDisk
from ..project import Project
from ..proxy import pause
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until
from .histories import asked
from .postgres import BACK, next_commit


@row("F18", "kill -9 of RethinkDB in a loop, hard durability")
def store_killed(project: Project) -> None:
    result = project.result
    server = project.rethink
    assert server
    daemon = project.begin()
    for _ in range(project.many(4, 100, 1000)):
        pause(project.random.uniform(0.05, 0.8))
        server.kill()
        result.fired += 1
        server.start()
        # It lets us in seconds before its tables can be written to.
        asked(project, r.db(project.name).table("events").wait(wait_for="ready_for_writes", timeout=60))
        result.recovered(next_commit(project, time.monotonic()), BACK)
        project.writers.until_acknowledged(20)
    result.expect(daemon.alive(), "the daemon has ended")


@row("F22", "16 writers, one stream, one expected version", on=(POSTGRES, RETHINK))
def duel(project: Project) -> None:
    result = project.result
    project.sampler.start()
    project.daemon()
    rounds = project.many(100, 1000, 1000)
    project.writers.start(project.store_url(), "--duel", "--writers", "16", "--appends", str(rounds))
    project.writers.wait(600)
    won: "Counter[object]" = Counter()
    for intent in project.writers.intents.values():
        won[intent.expected] += intent.result == "ok"
        result.expect(intent.result != "unknown", f"commit {intent.commit} ended unknown with all servers well")
    result.fired = len(won)
    result.expect(len(won) == rounds, f"{len(won)} rounds at versions of their own, and should be {rounds}")
    wrong = {version: winners for version, winners in won.items() if winners != 1}
    result.expect(not wrong, f"winners by version: {wrong}")


@row("F23", "kill -9 of writers between commit and head", on=(POSTGRES, RETHINK))
def writers_killed(project: Project) -> None:
    result = project.result
    project.begin()
    for _ in range(project.many(15, 300, 3000)):
        pause(project.random.uniform(0.02, 0.2))
        project.writers.kill()
        result.fired += 1
        begun = time.monotonic()
        # The store may have more than was acknowledged: all of it must come, bell or none.
        project.caught_up(stored(project))
        result.recovered(time.monotonic() - begun, BACK)
        project.writers.start(project.store_url(), rate=200)
        project.writers.until_acknowledged(5)


def stored(project: Project) -> int:
    return len(history.store(project))


def caught_inside(project: Project, writers: "subprocess.Popen[bytes]") -> bool:
    """Stops the writers; lets them go on where none of them has an append under way."""
    writers.send_signal(signal.SIGSTOP)
    kinds = [line.split('"kind":"')[1].split('"')[0] for line in journal_lines(project)]
    if kinds.count("intent") > sum(kinds.count(result) for result in ("ok", "definite_fail", "unknown")):
        return True
    writers.send_signal(signal.SIGCONT)
    return False


def journal_lines(project: Project) -> List[str]:
    return (project.folder / "journal-0001").read_text().split("\n")[:-1]


@row("F24", "a writer paused inside an append, others go on", on=(POSTGRES, RETHINK))
def writer_paused(project: Project) -> None:
    result = project.result
    project.begin()
    paused = project.writers.process
    assert paused
    # Until it was caught with an append under way.
    until("it stands inside an append", lambda: caught_inside(project, paused), 30, every=0.03)
    # The pause is longer than a sweep looks back, so that only a full view of the stream finds it.
    lasting = project.many(6, 60, 60)
    begun = time.monotonic()
    project.writers.start(project.store_url(), rate=200)
    result.fired += 1
    pause(lasting)
    project.caught_up()
    paused.send_signal(signal.SIGCONT)
    project.writers.stop()
    project.writers.process = paused
    settled = len(journal_lines(project))
    until("the paused writers have gone on", lambda: len(journal_lines(project)) > settled, 20)
    result.note(f"paused for {time.monotonic() - begun:.0f} s")
    begun = time.monotonic()
    project.caught_up()
    result.recovered(time.monotonic() - begun, BACK)


@row("F19", "a commit seen on a feed, and then lost with the server")
def announced_and_lost(project: Project) -> None:
    """Somebody appends without waiting for the disk, and the server is killed: what was announced was never there."""
    result, server = project.result, project.rethink
    assert server
    daemon = project.begin()
    project.writers.stop()
    project.caught_up()
    events = r.db(project.name).table("events")
    rounds = project.many(8, 60, 300)
    for number in range(rounds):
        newest = asked(project, events.order_by(r.desc("id")).limit(1))[0]
        first = int(newest["id"].split("@")[1]) + len(newest["events"])
        commit = str(uuid.UUID(int=project.random.getrandbits(128)))
        document = {**newest, "id": f"{newest['stream_id']}@{first:016}", "commit_id": commit}
        meant(project, number, document, first - 1)
        connection = server.connect()
        feed = events.changes(include_initial=False).run(connection)
        other = server.connect()
        assert server.process
        disk = HeldDisk(server.process.pid)
        # Either too short for what is durable; or nothing becomes durable, for long enough for whoever takes what is not.
        held = number % 2 == 1 and disk.hold()
        events.insert({**document, "recorded_at": r.now()}, durability="soft").run(other, noreply=True)
        announced = is_announced(feed)
        pause(0.3 if held else 0.0)
        disk.kill()
        server.kill()
        server.start()
        until("the table is ready", lambda: asked(project, events.wait(wait_for="all_replicas_ready", timeout=10)), 30)
        result.fired += announced and asked(project, events.get(document["id"])) is None
        project.writers.start(project.store_url(), "--appends", "5", rate=1000)
        project.writers.wait()
        result.recovered(project.caught_up(stored(project)), BACK)
    result.note(f"{result.fired} of {rounds} commits lost")
    result.expect(daemon.alive(), "the daemon has ended")


def is_announced(feed) -> bool:  # type: ignore[no-untyped-def,type-arg]
    """Not where the server wanted its disk for it."""
    try:
        feed.next(wait=2)
    except r.errors.ReqlTimeoutError:
        return False
    return True


def meant(project: Project, number: int, document: dict, expected: int) -> None:  # type: ignore[type-arg]
    """A journal for the lab's own append, whose result nobody knows."""
    intent = {"kind": "intent", "commit": document["commit_id"], "writer": 0, "stream": document["stream_id"],
              "expected": expected, "events": [{"type": it["type"], "data": it["data"]} for it in document["events"]]}  # fmt: skip
    result = {"kind": "unknown", "commit": document["commit_id"], "tries": 1, "reason": "soft"}
    lines = "".join(json.dumps(line) + "\n" for line in (intent, result))
    (project.folder / f"journal-soft-{number:04}").write_text(lines)
