"""F30, F32: rebuilds that are killed, and reloads of what is wrong."""

import threading
import time
from typing import List

from ..project import PROJECTIONS, Project
from ..proxy import pause
from ..registry import POSTGRES, RETHINK, row
from ..waiting import until


# Events a second that a rebuild gets through at the least, beside its writers and the other projections.
REBUILT = 20_000


@row("F30", "rebuild killed at random, twice at once, under load", on=(POSTGRES, RETHINK))
def rebuild_killed(project: Project) -> None:
    result = project.result
    daemon = project.begin(rate=150)
    for _ in range(project.many(6, 100, 1000)):
        name = project.random.choice(PROJECTIONS)
        before = generation(project, name)
        # Shortly after a kill the last rebuild may still be wanted: then this one is refused, as it should.
        asked_for = project.cli("rebuild", name, "--yes").returncode
        result.expect(asked_for in (0, 4), f"rebuild of {name}: {asked_for}")
        pause(project.random.choice((0.0, 0.02, 0.1, 0.3)) * project.random.uniform(0.5, 1.5))
        result.fired += daemon.kill()
        daemon = project.daemon()
        begun = time.monotonic()
        until(f"{name} is built anew", lambda: generation(project, name) > before, 30)
        project.caught_up()
        # What is rebuilt is the whole log, and that grows as this goes on.
        result.recovered(time.monotonic() - begun, 5 + project.head() / REBUILT)

    for name in PROJECTIONS:
        before = generation(project, name)
        codes: List[int] = []
        askers = [threading.Thread(target=lambda: codes.append(project.cli("rebuild", name, "--yes", "--wait").returncode))
                  for _ in range(2)]  # fmt: skip
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        result.expect(sorted(codes) in ([0, 0], [0, 4]), f"two rebuilds of {name} at once ended with {codes}")
        result.expect(generation(project, name) - before == codes.count(0), f"{codes.count(0)} rebuilds made"
                      f" {generation(project, name) - before} generations")  # fmt: skip


def generation(project: Project, name: str) -> int:
    return int(project.value("select generation from projectord.projections where name = %s", name))


@row("F32", "SIGHUP with a wrong projection, a wrong configuration", on=(POSTGRES,))
def wrong_reload(project: Project) -> None:
    result = project.result
    config = project.folder / "config.toml"
    config.write_text('[log]\nlevel = "info"\n')
    daemon = project.begin()
    handler = project.folder / "projections" / "counter" / "event.sql"
    manifest = project.folder / "projections" / "chain" / "projection.toml"
    wrongs = [
        (handler, "update counters set n = n + ;;; commit;"),
        (manifest, "[on\n"),
        (config, '[log]\nlevle = "info"\n'),
        (config, "\x00\x01"),
    ]
    before = {name: project.value("select generation from projectord.projections where name = %s", name)
              for name in PROJECTIONS}  # fmt: skip
    for number, (file, text) in enumerate(wrongs, start=1):
        right = file.read_text()
        file.write_text(text)
        daemon.reload()
        counted = "select sum(refused_reloads)::bigint from projectord.daemons"
        until(f"the reload of {file.name} is refused", lambda: (project.value(counted) or 0) >= number, 15)
        result.fired += 1
        project.writers.until_acknowledged(20)
        result.recoveries.append(project.caught_up())
        file.write_text(right)
    daemon.reload()
    until("what is right is loaded", lambda: "reloaded" in daemon.log(), 10)
    after = {name: project.value("select generation from projectord.projections where name = %s", name)
             for name in PROJECTIONS}  # fmt: skip
    result.expect(before == after, f"generations went from {before} to {after}")
    result.expect(daemon.alive(), "the daemon has ended")
