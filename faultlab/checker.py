"""What must hold when all is quiet again: journals, store, log and read models against each other."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Dict, List

from . import history, models
from .history import Recorded
from .journal import Intent

if TYPE_CHECKING:
    from .project import Project


def check(project: "Project") -> List[Recorded]:
    """Everything that needs no program of ours; the log, for whoever wants to look further."""
    log = history.log(project)
    store = history.store(project)
    appends(project, project.writers.intents, store)
    versions(project, "store", store)
    positions(project, log)
    whole_when_seen(project, log)
    if project.rethink:
        copies(project, store, log)
    read_models(project, log)
    return log


def appends(project: "Project", intents: Dict[str, Intent], store: List[Recorded]) -> None:
    """Every acknowledged append once, whole, where it was said to be; nothing that nobody meant."""
    result = project.result
    commits: Dict[str, List[Recorded]] = defaultdict(list)
    for event in store:
        commits[event.commit].append(event)
    for commit in commits.keys() - intents.keys():
        result.violations.append(f"the store has commit {commit}, which nobody meant to append")
    for intent in intents.values():
        found = commits.get(intent.commit, [])
        if not found:
            result.expect(intent.result != "ok", f"commit {intent.commit} was acknowledged and is not in the store")
            continue
        result.expect(intent.result != "definite_fail", f"commit {intent.commit} was refused and is in the store")
        whole = [(it.type, it.data) for it in found] == [(it["type"], it["data"]) for it in intent.events]
        result.expect(whole, f"commit {intent.commit} is in the store in another form, in part, or twice")
        first = found[0].version
        places = [(it.stream, it.version) for it in found]
        in_one_place = places == [(intent.stream, first + number) for number in range(len(found))]
        result.expect(in_one_place, f"commit {intent.commit} is scattered: {places}")
        if intent.result == "ok":
            said, there = (intent.first, intent.version), (first, found[-1].version)
            result.expect(said == there, f"commit {intent.commit} was said to be at {said} and is at {there}")
        if intent.expected != "any":
            result.expect(first == intent.expected + 1, f"commit {intent.commit} is not after {intent.expected}")


def versions(project: "Project", where: str, events: List[Recorded]) -> None:
    """Versions 1 to n for each stream, in the order given."""
    last: Dict[str, int] = {}
    for event in events:
        project.result.expect(event.version == last.get(event.stream, 0) + 1,
                              f"{where}: stream {event.stream} has {event.version} after {last.get(event.stream, 0)}")  # fmt: skip
        last[event.stream] = event.version


def positions(project: "Project", log: List[Recorded]) -> None:
    """Dense from 1, streams in order, and the head at the end."""
    found = [it.position for it in log]
    project.result.expect(found == list(range(1, len(log) + 1)), f"the log is not dense: {len(log)} events")
    versions(project, "log", log)
    head = project.head()
    project.result.expect(head == len(log), f"the head is {head}, and the log has {len(log)} events")


def whole_when_seen(project: "Project", log: List[Recorded]) -> None:
    """A commit came into the log at once: whenever the sampler saw one, all of it was there."""
    events = Counter(it.commit for it in log)
    for commit, seen in dict(project.sampler.commits).items():
        project.result.expect(events.get(commit, seen) == seen,
                              f"commit {commit} has {events.get(commit)} events, and the log had {seen} of them for a while")  # fmt: skip


def copies(project: "Project", store: List[Recorded], log: List[Recorded]) -> None:
    """The log has what the store has, event by event."""
    ordered = sorted(log, key=lambda it: (it.stream, it.version))
    project.result.expect(len(ordered) == len(store), f"the store has {len(store)} events, and the log {len(log)}")
    for one, other in zip(store, ordered):
        if not one.same(other):
            project.result.violations.append(f"the log has {other}, and the store {one}")
            return


def read_models(project: "Project", log: List[Recorded]) -> None:
    """Row for row what Python makes of the same events."""
    for name, wanted in models.expected(log).items():
        with project.connect() as connection:
            found = connection.execute(models.QUERIES[name]).fetchall()
        if found != wanted:
            project.result.violations.append(f"{name}: {models.first_difference(wanted, found)}")
