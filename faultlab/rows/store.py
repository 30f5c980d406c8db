"""F18, F22, F23, F24: what happens to the store and to those who write to it."""

import signal
import subprocess
import time
from collections import Counter
from typing import List

from .. import history
from ..project import Project
from ..proxy import pause
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until
from .postgres import BACK, next_commit


@row("F18", "kill -9 of RethinkDB in a loop, hard durability")
def store_killed(project: Project) -> None:
    result = project.result
    server = project.rethink
    assert server
    daemon = project.begin()
    for _ in range(project.many(6, 100, 1000)):
        pause(project.random.uniform(0.05, 0.8))
        server.kill()
        result.fired += 1
        server.start()
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
