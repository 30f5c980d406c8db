"""The table of rows: which there are, what they need, and who runs them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, List, Tuple

if TYPE_CHECKING:
    from .project import Project

Run = Callable[["Project"], None]

POSTGRES, RETHINK = "postgres", "rethinkdb"


@dataclass(frozen=True)
class Row:
    """One fault, on one backend."""

    name: str
    backend: str
    fault: str
    run: Run
    # Some rows put the servers into a state of their own, and look themselves at what is left.
    checked: bool
    # Some need the machine for themselves: their limits are near, or they leave nothing to others.
    alone: bool


ROWS: List[Row] = []


def row(name: str, fault: str, on: Tuple[str, ...] = (RETHINK,), checked: bool = True,
        alone: bool = False) -> Callable[[Run], Run]:  # fmt: skip
    """Adds a function to the table, once for each backend."""

    def add(run: Run) -> Run:
        ROWS.extend(Row(name, backend, fault, run, checked, alone) for backend in on)
        return run

    return add
