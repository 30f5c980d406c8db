"""Runs rows of the table and says what came of them: `make faults` is the way in."""

import argparse
import os
import random
import sys
from pathlib import Path
from typing import List

from . import rows  # noqa: F401  the rows put themselves into the table
from .lanes import Lane, side_by_side
from .registry import ROWS, Row

ROOT = Path(__file__).parent.parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faultlab", description=__doc__)
    parser.add_argument("--profile", choices=["quick", "full", "release"], default="quick")
    parser.add_argument("--seed", type=int, default=None, help="what is random follows from it")
    parser.add_argument("--rows", default="", help="F01,F04: all unless given")
    parser.add_argument("--backend", choices=["postgres", "rethinkdb"], help="both unless given, side by side")
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
    lanes = side_by_side(options, seed, wanted)
    twice = sorted(name for lane in lanes for name in lane.twice)
    if twice:
        print(f"\ntried twice, since something came late or did not happen: {', '.join(twice)}")
    return end(options, seed, lanes)


def end(options: argparse.Namespace, seed: int, lanes: List[Lane]) -> int:
    """The closing lines, and the exit code."""
    done = [of for lane in lanes for of in lane.done]
    skipped = sum(bool(it.skipped) for _, it in done)
    passed = sum(it.passed and not it.skipped for _, it in done)
    failed = [row.name for row, it in done if not it.skipped and not it.passed]
    if failed:
        print(f"\nagain: make faults PROFILE={options.profile} SEED={seed} ROWS={','.join(sorted(set(failed)))}")
        print(f"logs:  {' '.join(str(lane.folder) for lane in lanes if lane.folder.exists())}")
    print(f"faults: {passed} passed, {len(failed)} failed, {skipped} skipped")
    if options.sabotage:
        caught = any(it.failures for _, it in done)
        print(f"sabotage {options.sabotage}: {'caught' if caught else 'NOT CAUGHT'}")
        return 0 if caught else 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
