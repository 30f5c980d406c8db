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
    # What came about too late, and so may be the machine's doing and not ours.
    late: List[str] = field(default_factory=list)
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
        if seconds > within * self.slack:
            self.late.append(f"recovered after {seconds:.1f} s, and should within {within:.1f} s")

    def percentile(self, share: float) -> float:
        ordered = sorted(self.recoveries)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def failures(self) -> List[str]:
        return self.violations + self.late

    @property
    def passed(self) -> bool:
        return not self.failures and self.fired > 0

    @property
    def may_be_chance(self) -> bool:
        """Nothing was wrong, but something came late, or the fault did not fire."""
        return not self.passed and not self.violations

    def verdict(self) -> str:
        """The word for it in the table."""
        if self.passed:
            return "ok"
        if self.violations:
            return f"{len(self.failures)} WRONG"
        return "LATE" if self.late else "NOT FIRED"
