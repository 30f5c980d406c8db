"""What must be true after every run. Shares no code with the daemon: it reads the journals, the store, the log
and the read models, and computes the read models itself."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from typing import NamedTuple

import psycopg
from rethinkdb import RethinkDB

from lab import PROJECTIONS, Lab
from servers import PASSWORD

Commits = dict[str, dict[int, tuple[str, list[str]]]]  # stream → first version → commit id, values


class Event(NamedTuple):
    position: int
    stream: str
    version: int
    commit: str
    value: str


def check(lab: Lab) -> list[str]:
    """Everything that is wrong, in words."""
    wrong: list[str] = []
    with psycopg.connect(lab.postgres.url(lab.name), autocommit=True) as connection:
        log = [Event(*row) for row in connection.execute(
            "select position, stream_id::text, version, commit_id::text, data->>'value' "
            "from projectord.events order by position")]
        wrong += check_log(log)
        logged = commits_of(log)
        wrong += check_journal(lab, logged)
        if lab.rethink:
            stored, more = read_store(lab)
            wrong += more
            if stored != logged:
                wrong.append(f"the store has {count(stored)} commits, the log {count(logged)}; they differ")
        wrong += check_models(connection, log, "live")
        wrong += check_leftovers(connection)
    try:
        lab.command("audit")
    except AssertionError as error:
        wrong.append(f"audit: {error}")
    return wrong + check_daemon_log(lab)


def check_rebuild(lab: Lab) -> list[str]:
    """Rebuilt rows are the same rows. A daemon must run."""
    for name in PROJECTIONS:
        lab.command("rebuild", name, "--yes", "--wait")
    lab.until_caught_up()
    with psycopg.connect(lab.postgres.url(lab.name), autocommit=True) as connection:
        log = [Event(*row) for row in connection.execute(
            "select position, stream_id::text, version, commit_id::text, data->>'value' "
            "from projectord.events order by position")]
        return check_models(connection, log, "rebuilt")


def check_log(log: list[Event]) -> list[str]:
    wrong = []
    if [event.position for event in log] != list(range(1, len(log) + 1)):
        wrong.append("positions are not dense from 1")
    versions: dict[str, int] = defaultdict(int)
    for event in log:
        versions[event.stream] += 1
        if event.version != versions[event.stream]:
            wrong.append(f"stream {event.stream} has version {event.version} in place of {versions[event.stream]}")
            break
    return wrong


def commits_of(log: list[Event]) -> Commits:
    commits: Commits = defaultdict(dict)
    first: dict[str, int] = {}
    for event in log:
        begin = first.setdefault(event.commit, event.version)
        commits[event.stream].setdefault(begin, (event.commit, []))[1].append(event.value)
    return dict(commits)


def count(commits: Commits) -> int:
    return sum(len(stream) for stream in commits.values())


def check_journal(lab: Lab, logged: Commits) -> list[str]:
    """Every acknowledged append is there once, whole, at its version; nothing is there without an intent."""
    intents, results = {}, {}
    for line in lab.journal.read_text().splitlines():
        entry = json.loads(line)
        if "intent" in entry:
            intents[entry["intent"]] = entry
        else:
            results[entry["of"]] = entry
    wrong, places = [], defaultdict(list)
    for stream, commits in logged.items():
        for first, (commit, values) in commits.items():
            places[commit].append((stream, first, values))
    for commit, entry in intents.items():
        result = results.get(commit, {"result": "unknown"})
        found = places.get(commit, [])
        if len(found) > 1:
            wrong.append(f"commit {commit} is there {len(found)} times")
        elif found and found[0][2] != entry["values"]:
            wrong.append(f"commit {commit} is not whole: {len(found[0][2])} of {len(entry['values'])} events")
        elif result["result"] == "ok" and not found:
            wrong.append(f"commit {commit} was acknowledged and is gone")
        elif result["result"] == "ok" and found[0][1] + len(found[0][2]) - 1 != result["version"]:
            wrong.append(f"commit {commit} is not at the version that was acknowledged")
        elif result["result"] == "definite_fail" and found:
            wrong.append(f"commit {commit} was refused and is there")
    wrong += [f"commit {commit} was meant by nobody" for commit in places if commit not in intents]
    return wrong


def read_store(lab: Lab) -> tuple[Commits, list[str]]:
    """The store by primary key, and by its index: they must agree; and no head is ahead."""
    assert lab.rethink
    r = RethinkDB()
    connection = r.connect("127.0.0.1", lab.rethink.port, db=lab.name)
    try:
        by_key = {row["id"]: row for row in r.table("events", read_mode="majority").run(connection)}
        by_time = set(r.table("events").order_by(index="recorded_at")["id"].run(connection))
        heads = {row["id"]: row["version"] for row in r.table("aggregates").run(connection) if "version" in row}
    finally:
        connection.close()
    commits: Commits = defaultdict(dict)
    for key, row in by_key.items():
        stream, first = key.split("@")
        commits[stream][int(first)] = (row["commit_id"], [event["data"]["value"] for event in row["events"]])
    wrong = [] if set(by_key) == by_time else ["the index on recorded_at has other commits than the table"]
    for stream, head in heads.items():
        last = max((first + len(values) - 1 for first, (_, values) in commits.get(stream, {}).items()), default=0)
        if head > last:
            wrong.append(f"the head of stream {stream} is {head}, ahead of its commits, {last}")
    return dict(commits), wrong


def check_models(connection: psycopg.Connection, log: list[Event], what: str) -> list[str]:  # type: ignore[type-arg]
    wrong = []
    seen = connection.execute("select position, stream_id::text, version from audit.seen order by nth").fetchall()
    if seen != [(event.position, event.stream, event.version) for event in log]:
        wrong.append(f"{what}: audit has {len(seen)} rows, the log {len(log)} events; or another order")
    counts: dict[str, int] = defaultdict(int)
    chains: dict[str, str] = {}
    states: dict[str, tuple[int, str]] = {}
    for event in log:
        counts[event.stream] += 1
        chains[event.stream] = hashlib.md5((chains.get(event.stream, "") + event.value).encode()).hexdigest()
        states[event.stream] = (event.version, event.value)
    for name, query, expected in [
        ("counter", "select stream_id::text, n from counter.counts", dict(counts)),
        ("chain", "select stream_id::text, chain from chain.chains", chains),
    ]:
        if dict(connection.execute(query).fetchall()) != expected:  # type: ignore[call-overload]
            wrong.append(f"{what}: {name} differs from what the log gives")
    rows = {row[0]: row[1:] for row in connection.execute("select stream_id::text, version, value from state.states")}
    if rows != states:
        wrong.append(f"{what}: state differs from what the log gives")
    return wrong


def check_leftovers(connection: psycopg.Connection) -> list[str]:  # type: ignore[type-arg]
    """Nothing is left behind: no schema, no lock that is waited for, no session inside a transaction."""
    wrong = []
    schemas = connection.execute("select nspname from pg_namespace where nspname !~ '^pg_' "
                                 "and nspname not in ('information_schema', 'public', 'projectord')").fetchall()
    if sorted(name for (name,) in schemas) != PROJECTIONS:
        wrong.append(f"schemas: {schemas}")
    for what, query in [
        ("locks that are waited for", "select count(*) from pg_locks where not granted"),
        ("sessions inside a transaction", "select count(*) from pg_stat_activity where datname = current_database() "
         "and state like 'idle in transaction%' and state_change < clock_timestamp() - interval '5 seconds'"),
    ]:
        row = connection.execute(query).fetchone()  # type: ignore[call-overload]
        if row and row[0]:
            wrong.append(f"{row[0]} {what}")
    return wrong


def check_daemon_log(lab: Lab) -> list[str]:
    text = (lab.folder / "daemon.log").read_text(errors="replace") if (lab.folder / "daemon.log").exists() else ""
    wrong = []
    if PASSWORD in text:
        wrong.append("a password is in the daemon's log")
    if f"payload-{lab.seed}" in text:
        wrong.append("an event's data are in the daemon's log")
    if "panicked" in text:
        wrong.append("the daemon panicked")
    return wrong
