"""The rows of one backend are a lane, on servers of its own. Two lanes go side by side; who must be alone, is."""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, List, Tuple

from .lab import Lab
from .outcome import Outcome
from .registry import Row
from .run import run_and_print

# A process for each lane: a thread would share the interpreter with the other lane's proxies.
CONTEXT = multiprocessing.get_context("fork")


@dataclass
class Lane:
    """What came of a lane's rows, where its logs are, and which rows were tried twice."""

    done: List[Tuple[Row, Outcome]] = field(default_factory=list)
    folder: Path = Path()
    twice: List[str] = field(default_factory=list)


class Places:
    """Who may run a row now."""

    def __init__(self, lanes: int) -> None:
        self.door = CONTEXT.Lock()
        self.lanes = [CONTEXT.Lock() for _ in range(lanes)]

    @contextmanager
    def place(self, row: Row, lane: int) -> Iterator[None]:
        """A row has its lane; one that must be alone has all of them. Who waits keeps the others at the door."""
        with ExitStack() as held:
            with self.door:
                for lock in self.lanes if row.alone else [self.lanes[lane]]:
                    held.enter_context(lock)
            yield


# Of this process, which is one lane's: locks are inherited, and never sent.
PLACES: List[Places] = []


def side_by_side(options: argparse.Namespace, seed: int, rows: List[Row]) -> List[Lane]:
    """All rows, those of each backend in order, except that those who must be alone come first."""
    backends = sorted({row.backend for row in rows})
    places = Places(len(backends))
    with ProcessPoolExecutor(len(backends), CONTEXT, PLACES.append, (places,)) as pool:
        going = []
        for number, backend in enumerate(backends):
            mine = sorted((row for row in rows if row.backend == backend), key=lambda row: (not row.alone, row.name))
            going.append(pool.submit(along, options, seed, mine, number))
        return [lane.result() for lane in going]


def along(options: argparse.Namespace, seed: int, rows: List[Row], number: int) -> Lane:
    """One lane, from its servers' start to their end."""
    lab = Lab(options.binary, options.writer, options.profile, seed, rows[0].backend)
    lane = Lane(folder=lab.folder)
    failed = True
    try:
        for row in rows:
            with PLACES[0].place(row, number):
                outcome = run_and_print(lab, row)
                # A quick look is taken beside whatever else the machine does: what may be its doing gets a second try.
                if options.profile == "quick" and not options.sabotage and outcome.may_be_chance:
                    lane.twice.append(row.name)
                    outcome = run_and_print(lab, row, attempt=2)
            lane.done.append((row, outcome))
        failed = any(not it.skipped and not it.passed for _, it in lane.done)
    finally:
        lab.close(keep=options.keep or failed)
    return lane
