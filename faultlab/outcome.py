"""What a row of the table found out."""

from dataclasses import dataclass, field
from typing import List


class NotHere(Exception):
    """The row cannot be run on this machine; it says why."""


@dataclass
class Outcome:
    """How often the fault fired, how long each recovery took, and what was not as it must be."""

    fired: int = 0
    recoveries: List[float] = field(default_factory=list)
    violations: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    skipped: str = ""
    # How much longer things may take than they should, on a machine that has other work.
    slack: float = 1.0

    def expect(self, true: object, otherwise: str) -> None:
        if not true:
            self.violations.append(otherwise)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def recovered(self, seconds: float, within: float) -> None:
        """A recovery, and how long it may take at the most."""
        self.recoveries.append(seconds)
        self.expect(seconds <= within * self.slack, f"recovered after {seconds:.1f} s, and should within {within:.1f} s")

    def percentile(self, share: float) -> float:
        ordered = sorted(self.recoveries)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def passed(self) -> bool:
        return not self.violations and self.fired > 0
