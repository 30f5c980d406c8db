"""One row: run, judged, and told in a line."""

import time
import traceback

from .lab import Lab
from .outcome import NotHere, Outcome
from .project import Project
from .registry import RETHINK, Row
from .verdict import judge
from .waiting import Late


def run(lab: Lab, row: Row, attempt: int) -> Outcome:
    """One row, from empty databases to the verdict."""
    if row.backend == RETHINK and lab.rethink is None:
        return Outcome(skipped="NO RETHINKDB on PATH")
    project = Project(lab, row.name, row.backend, attempt)
    try:
        row.run(project)
        if row.checked:
            judge(project)
    except NotHere as reason:
        project.result.skipped = str(reason)
    except Late as error:
        project.result.late.append(str(error))
    except Exception as error:
        project.result.violations.append(f"{type(error).__name__}: {error}")
        if not isinstance(error, AssertionError):
            traceback.print_exc()
    finally:
        project.close()
    return project.result


def line(row: Row, outcome: Outcome, seconds: float) -> str:
    if outcome.skipped:
        return f"{row.name}  {row.backend:9}  SKIPPED: {outcome.skipped}"
    times = ""
    if outcome.recoveries:
        times = f"p50 {outcome.percentile(0.5):.2f} s, max {max(outcome.recoveries):.2f} s"
        if len(outcome.recoveries) >= 100:
            times += f", p99 {outcome.percentile(0.99):.2f} s"
    notes = "; ".join(outcome.notes)
    return f"{row.name}  {row.backend:9}  {row.fault:52.52}  {outcome.fired:>5}  {times:44}  {outcome.verdict():9}  {seconds:4.0f} s  {notes}"


def run_and_print(lab: Lab, row: Row, attempt: int = 1) -> Outcome:
    begun = time.monotonic()
    outcome = run(lab, row, attempt)
    # At once, since another lane prints, too.
    lines = [line(row, outcome, time.monotonic() - begun), *(f"      {failure}" for failure in outcome.failures[:20])]
    print("\n".join(lines), flush=True)
    return outcome
