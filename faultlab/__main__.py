"""Runs rows of the table and says what came of them: `make faults` is the way in."""

import argparse
import os
import random
import sys
import time
import traceback
from pathlib import Path
from typing import List, Tuple

from . import rows  # noqa: F401  the rows put themselves into the table
from .lab import Lab
from .outcome import NotHere, Outcome
from .project import Project
from .registry import RETHINK, ROWS, Row
from .verdict import judge
from .waiting import Late

ROOT = Path(__file__).parent.parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faultlab", description=__doc__)
    parser.add_argument("--profile", choices=["quick", "full", "release"], default="quick")
    parser.add_argument("--seed", type=int, default=None, help="what is random follows from it")
    parser.add_argument("--rows", default="", help="F01,F04: all unless given")
    parser.add_argument("--backend", choices=["postgres", "rethinkdb"], help="both unless given")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/projectord")
    parser.add_argument("--writer", type=Path, default=ROOT / "target/release/examples/lab_writer")
    parser.add_argument("--sabotage", default=None, metavar="NAME",
                        help="set SABOTAGE, for a binary built to be wrong: violations are expected")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep folders and logs")
    parser.add_argument("--list", action="store_true", help="print the table and end")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> List[Row]:
    names = [name.strip().upper() for name in options.rows.split(",") if name.strip()]
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        sys.exit(f"faults: no row {', '.join(sorted(unknown))}")
    wanted = [row for row in sorted(ROWS, key=lambda row: row.name) if not names or row.name in names]
    return [row for row in wanted if options.backend in (None, row.backend)]


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
    print(line(row, outcome, time.monotonic() - begun), flush=True)
    for failure in outcome.failures[:20]:
        print(f"      {failure}", flush=True)
    return outcome


def main() -> int:
    options = arguments()
    wanted = chosen(options)
    if options.list:
        for row in wanted:
            print(f"{row.name}  {row.backend:9}  {row.fault}")
        return 0
    seed = options.seed if options.seed is not None else random.randrange(2**31)
    print(f"faults: profile {options.profile}, seed {seed}", flush=True)
    if options.sabotage:
        # For the daemons and for the writers.
        os.environ["SABOTAGE"] = options.sabotage
    lab = Lab(options.binary, options.writer, options.profile, seed)
    done: List[Tuple[Row, Outcome]] = []
    twice: List[str] = []
    failed = True
    try:
        for row in wanted:
            outcome = run_and_print(lab, row)
            # A quick look is taken beside whatever else the machine does: what may be its doing gets a second try.
            if options.profile == "quick" and not options.sabotage and outcome.may_be_chance:
                twice.append(row.name)
                outcome = run_and_print(lab, row, attempt=2)
            done.append((row, outcome))
        failed = any(not it.skipped and not it.passed for _, it in done)
    finally:
        lab.close(keep=options.keep or failed)
    if twice:
        print(f"\ntried twice, since something came late or did not happen: {', '.join(twice)}")
    return end(options, seed, done, lab)


def end(options: argparse.Namespace, seed: int, done: List[Tuple[Row, Outcome]], lab: Lab) -> int:
    """The closing lines, and the exit code."""
    skipped = sum(bool(it.skipped) for _, it in done)
    passed = sum(it.passed and not it.skipped for _, it in done)
    failed = [row.name for row, it in done if not it.skipped and not it.passed]
    if failed:
        print(f"\nagain: make faults PROFILE={options.profile} SEED={seed} ROWS={','.join(sorted(set(failed)))}")
        print(f"logs:  {lab.folder}")
    print(f"faults: {passed} passed, {len(failed)} failed, {skipped} skipped")
    if options.sabotage:
        caught = any(it.failures for _, it in done)
        print(f"sabotage {options.sabotage}: {'caught' if caught else 'NOT CAUGHT'}")
        return 0 if caught else 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
