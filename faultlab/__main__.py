"""The fault lab: breaks everything around the daemon, and then looks whether anything was lost or done twice.

    make faults                                     # the quick profile, all rows
    make faults PROFILE=full
    make faults PROFILE=quick SEED=4711 ROWS=F01,F18
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from pathlib import Path

from checker import check, check_rebuild
from lab import Lab
from rows import PROFILES, ROWS, Profile, Row
from servers import Postgres, Rethink


def main() -> int:
    arguments = parse()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 31)
    wanted = [row for row in ROWS if not arguments.rows or row.number in arguments.rows.split(",")]
    if not wanted:
        raise SystemExit(f"no such row; known are {', '.join(row.number for row in ROWS)}")
    print(f"profile {arguments.profile}, seed {seed}", flush=True)
    print(f"{'row':<6}{'store':<11}{'fired':>7}{'p50 s':>8}{'p99 s':>8}{'max s':>8}{'bound':>7}  result", flush=True)
    passed = failed = skipped = 0
    for row in wanted:
        for store in row.stores:
            if store == "rethinkdb" and not Rethink.is_here():
                print(f"{row.number:<6}{store:<11}{'SKIPPED: no rethinkdb on PATH':>40}", flush=True)
                skipped += 1
                continue
            problems = run(row, store, PROFILES[arguments.profile], seed, Path(arguments.binaries), arguments.keep)
            passed, failed = (passed, failed + 1) if problems else (passed + 1, failed)
            for problem in problems:
                print(f"        {problem}", flush=True)
            if problems:
                print(f"        again: make faults PROFILE={arguments.profile} SEED={seed} ROWS={row.number}", flush=True)
    print(f"\nfaults: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    parser.add_argument("--seed", type=int, help="drives workload, faults and times; random unless given")
    parser.add_argument("--rows", default="", help="such as F01,F18; all unless given")
    parser.add_argument("--binaries", required=True, help="the folder that has projectord and examples/lab_writer")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a run that failed")
    return parser.parse_args()


def run(row: Row, store: str, profile: Profile, seed: int, binaries: Path, keep: bool) -> list[str]:
    """One row on servers of its own; what is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="faultlab-"))
    # PostgreSQL runs as somebody else where we are root.
    folder.chmod(0o755)
    postgres = Postgres(folder / "postgres")
    rethink = Rethink(folder / "rethinkdb") if store == "rethinkdb" else None
    lab = Lab(folder / "project", binaries.resolve(), postgres, rethink, seed)
    begun = time.monotonic()
    try:
        problems = attempt(lab, row, profile)
    finally:
        lab.end()
        postgres.stop()
        if rethink:
            rethink.kill()
    times = sorted(lab.recoveries)
    numbers = [statistics.median(times), times[int(len(times) * 0.99)], times[-1]] if times else [0.0, 0.0, 0.0]
    if not problems and times and times[-1] > row.bound:
        problems = [f"recovering took {times[-1]:.1f} s, more than {row.bound:.0f} s"]
    if not lab.fired:
        problems.append("the fault did not fire: this run shows nothing")
    result = "VIOLATED" if problems else "ok"
    shown = "".join(f"{number:>8.2f}" for number in numbers)
    took = time.monotonic() - begun
    print(f"{row.number:<6}{store:<11}{lab.fired:>7}{shown}{row.bound:>7.0f}  {result}, {row.what}, {took:.0f} s", flush=True)
    if problems and keep:
        print(f"        kept: {folder}", flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return problems


def attempt(lab: Lab, row: Row, profile: Profile) -> list[str]:
    try:
        row.run(lab, profile)
        lab.stop_writing()
        lab.until_caught_up()
        return check(lab) + check_rebuild(lab)
    except Exception as error:  # noqa: BLE001  whatever it was, it is this row's failure
        where = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{type(error).__name__}: {error} (at {Path(where.filename).name}:{where.lineno})"]


if __name__ == "__main__":
    sys.exit(main())
