"""The writers' journal: what they meant to append, and what they were told came of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional


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


def read(files: Iterable[Path]) -> Dict[str, Intent]:
    """All intents by commit id. A line that was cut off by a kill was never finished, and says nothing."""
    intents: Dict[str, Intent] = {}
    for file in files:
        for line in file.read_text().split("\n")[:-1]:
            entry = json.loads(line)
            kind = entry["kind"]
            if kind == "intent":
                intents[entry["commit"]] = Intent(entry["commit"], entry["stream"], entry["expected"], entry["events"])
            elif kind in ("ok", "definite_fail", "unknown"):
                intent = intents[entry["commit"]]
                intent.result, intent.first, intent.version = kind, entry.get("first"), entry.get("version")
    return intents


def acknowledged(intents: Dict[str, Intent]) -> int:
    """How many events the store has taken, as it said itself."""
    return sum(len(it.events) for it in intents.values() if it.result == "ok")
