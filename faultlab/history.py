"""Reads what is in the store and in the log, with drivers that the daemon does not use, and by two ways each."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, List, Optional

from rethinkdb import r

if TYPE_CHECKING:
    from .project import Project


@dataclass(frozen=True)
class Recorded:
    """One event, as the store or the log has it."""

    position: Optional[int]
    stream: str
    stream_type: str
    version: int
    type: str
    data: Any
    metadata: Any
    commit: str
    recorded_at: datetime

    def same(self, other: "Recorded") -> bool:
        """Equal in all but the place in the log. Times are equal to the millisecond, which is what the store keeps."""
        mine, theirs = (
            (it.stream, it.stream_type, it.version, it.type, it.data, it.metadata, it.commit) for it in (self, other)
        )
        return mine == theirs and abs((self.recorded_at - other.recorded_at).total_seconds()) < 0.001


def log(project: "Project") -> List[Recorded]:
    """The log by its primary key; it must be the same by its other index."""
    columns = "position, stream_id, stream_type, version, type, data, metadata, commit_id, recorded_at"
    with project.connect() as connection:
        # In one snapshot: what a killed writer had sent may still be committed.
        connection.execute("begin isolation level repeatable read; set local enable_seqscan = off")
        rows = connection.execute(f"select {columns} from projectord.events order by position").fetchall()
        others = connection.execute(f"select {columns} from projectord.events order by stream_id, version").fetchall()
    project.result.expect(sorted(row[0] for row in others) == [row[0] for row in rows],
                          "the log has other events by stream and version than by position")  # fmt: skip
    return [Recorded(row[0], str(row[1]), *row[2:7], str(row[7]), row[8]) for row in rows]


def twice(table, connection):  # type: ignore[no-untyped-def]
    """All commits by key and by time, as they are while nothing is added: what a killed writer had sent may be."""
    by_key = list(table.order_by(index="id").run(connection))
    while True:
        by_time = list(table.order_by(index="recorded_at").run(connection))
        again = list(table.order_by(index="id").run(connection))
        if len(again) == len(by_key):
            return again, by_time
        by_key = again


def store(project: "Project") -> List[Recorded]:
    """The store's events by stream and version; on PostgreSQL the log is the store."""
    if not project.rethink:
        return sorted(log(project), key=lambda it: (it.stream, it.version))
    connection = project.rethink.connect()
    try:
        table = r.db(project.name).table("events", read_mode="majority")
        # Heads first: one that is ahead of what is read later runs ahead.
        heads = list(r.db(project.name).table("aggregates", read_mode="majority").run(connection))
        by_key, by_time = twice(table, connection)
    finally:
        connection.close()
    project.result.expect(sorted(it["id"] for it in by_time) == [it["id"] for it in by_key],
                          "the store has other commits by time than by key")  # fmt: skip
    found = []
    for document in by_key:
        stream, first = document["id"].split("@")
        project.result.expect(stream == document["stream_id"], f"{document['id']} is of stream {document['stream_id']}")
        for place, event in enumerate(document["events"]):
            found.append(Recorded(None, stream, document["stream_type"], int(first) + place, event["type"],
                                  event["data"], event["metadata"], document["commit_id"],
                                  document["recorded_at"]))  # fmt: skip
    last = {it.stream: it.version for it in found}
    for head in heads:
        if head["id"] != "meta":
            project.result.expect(head["version"] <= last.get(head["id"], 0), f"the head of {head['id']} runs ahead")
    return found
