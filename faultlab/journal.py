"""The writers' journals: what they meant to append, and what they were told came of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional


@dataclass
class Intent:
    """One append: `result` is ok, definite_fail or unknown."""

    commit: str
    stream: str
    expected: Any
    events: List[Dict[str, Any]]
    result: str = "unknown"
    first: Optional[int] = None
    version: Optional[int] = None


class Journals:
    """All journals of a folder, read on from where they were read to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.intents: Dict[str, Intent] = {}
        # How many events the store has taken, as it said itself.
        self.acknowledged = 0
        self._read_to: Dict[Path, int] = {}

    def read(self) -> "Journals":
        """What has come since. A line that was cut off by a kill was never finished, and says nothing."""
        for path in sorted(self.folder.glob("journal-*")):
            with path.open("rb") as file:
                file.seek(self._read_to.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
            self._read_to[path] = self._read_to.get(path, 0) + len(whole) + len(newline)
            for line in whole.splitlines():
                self._add(json.loads(line))
        return self

    def _add(self, entry: Dict[str, Any]) -> None:
        kind = entry["kind"]
        if kind == "intent":
            intent = Intent(entry["commit"], entry["stream"], entry["expected"], entry["events"])
            self.intents[intent.commit] = intent
        elif kind in ("ok", "definite_fail", "unknown"):
            intent = self.intents[entry["commit"]]
            intent.result, intent.first, intent.version = kind, entry.get("first"), entry.get("version")
            self.acknowledged += len(intent.events) if kind == "ok" else 0
