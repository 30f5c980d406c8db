"""The read models, computed from the events by Python alone."""

import hashlib
from typing import Any, Dict, List, Tuple

from .history import Recorded

Rows = List[Tuple[Any, ...]]

# What is read of each read model, in an order that makes it comparable.
QUERIES = {
    "audit": "select position, stream_id::text, version, type, amount from audit.arrivals order by arrival",
    "counter": "select stream_id::text, n, total from counter.counters order by 1",
    "chain": "select stream_id::text, hash from chain.chains order by 1",
    "state": 'select stream_id::text, key, amount, version from state.states order by 1, key collate "C"',
}


def expected(log: List[Recorded]) -> Dict[str, Rows]:
    """What every read model must hold when exactly these events were applied, once each, in this order."""
    counters: Dict[str, Tuple[int, int]] = {}
    chains: Dict[str, str] = {}
    states: Dict[Tuple[str, str], Tuple[int, int]] = {}
    audit: Rows = []
    for event in log:
        amount = event.data["amount"]
        audit.append((event.position, event.stream, event.version, event.type, amount))
        n, total = counters.get(event.stream, (0, 0))
        counters[event.stream] = (n + 1, total + amount)
        link = f"{chains.get(event.stream, '')} {event.version} {event.type} {amount}"
        chains[event.stream] = hashlib.md5(link.encode()).hexdigest()
        if event.type == "LabSet":
            states[event.stream, event.data["key"]] = (amount, event.version)
        elif event.type == "LabCleared":
            states.pop((event.stream, event.data["key"]), None)
    return {
        "audit": audit,
        "counter": sorted((stream, *it) for stream, it in counters.items()),
        "chain": sorted(chains.items()),
        "state": sorted((*key, *it) for key, it in states.items()),
    }


def first_difference(wanted: Rows, found: Rows) -> str:
    """Where two lists of rows part."""
    for place, (one, other) in enumerate(zip(wanted, found)):
        if one != other:
            return f"row {place + 1} of {len(found)} is {other}, and should be {one}"
    return f"{len(found)} rows, and should be {len(wanted)}"
