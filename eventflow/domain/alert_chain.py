"""Which alerts follow from a stopped group in their chain: one of them pages, the others wait for it to end.

Directions come from the topology: a stop starves what lies downstream and may dam what lies upstream. Two consumers of
one topic are no chain. Promises: of any set of troubles at least one is nobody's consequence; what was told of already,
what began long before or long after, and whoever is simply gone, is never held back. Pure: the graph is an argument.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from eventflow.domain.alert import HELD_BACK_BY_STOPPED, Incident, Kind, Measurement, Reading, Rule, State, read
from eventflow.domain.lag import TROUGH_SECONDS, LagStatus
from eventflow.domain.topology_model import Topology

EARLIER = timedelta(seconds=60)
"""Looks at brokers are up to a minute apart: what began so much before the cause may still have begun after it."""
ONSET = timedelta(minutes=15)
"""What begins later than this after the stop has a cause of its own: better a second page than a hidden outage."""
WAITING = HELD_BACK_BY_STOPPED | {Kind.STOPPED}
"""Kinds that waiting for somebody else can bring about; loss can't wait, and letters tell of failures."""
Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A rule that is broken for a subject, or nearly so.

    breached_since  when that was first measured
    told            people know of it
    """

    rule: Rule
    measurement: Measurement
    breached_since: datetime
    told: bool = False
    recovering_since: datetime | None = None

    @property
    def key(self) -> Key:
        return self.rule.pk, self.measurement.subject

    @property
    def stop(self) -> bool:
        return self.rule.kind == Kind.STOPPED

    @property
    def gone(self) -> bool:
        """Nobody is there: no neighbour does that. Who is there and finishes nothing may be waiting for one."""
        return self.stop and self.measurement.status == LagStatus.STOPPED

    @property
    def began(self) -> datetime:
        """When it went wrong, not when it had been wrong for long enough."""
        if self.stop:
            return self.measurement.progress_at or self.breached_since
        if self.rule.kind == Kind.DRIFTING:
            return self.breached_since - timedelta(seconds=3 * TROUGH_SECONDS)
        late = self.rule.kind == Kind.LAG and (self.measurement.seconds or 0) > (self.rule.seconds or 0)
        return self.breached_since - timedelta(seconds=self.rule.seconds or 0) if late else self.breached_since


def trouble_of(rule: Rule, measurement: Measurement, before: Incident | None, now: datetime) -> Trouble | None:
    """A measurement as trouble that may be a cause or a consequence; None when it is neither."""
    if rule.kind not in WAITING:
        return None
    reading = read(rule, measurement)
    # A stop counts from its first sign on, and until it has ended: its consequences may show before it fires.
    open_stop = rule.kind == Kind.STOPPED and (before is not None or reading == Reading.BETWEEN)
    if reading != Reading.BREACH and not open_stop and not (before is not None and before.held):
        return None
    if before is None:
        return Trouble(rule, measurement, now)
    told = before.state in (State.FIRING, State.RECOVERING)
    return Trouble(rule, measurement, before.pending_since, told, before.recovering_since)


class Chains:
    """Who feeds whom: the topology's publish and consume edges, seen or configured."""

    def __init__(self, topology: Topology) -> None:
        self._forth: dict[str, set[str]] = {}
        self._back: dict[str, set[str]] = {}
        self._read: dict[str, set[str]] = {}
        for edge in topology.edges:
            if edge.kind == "dead-letter":
                continue
            self._forth.setdefault(edge.source, set()).add(edge.target)
            self._back.setdefault(edge.target, set()).add(edge.source)
            if edge.kind == "consume":
                self._read.setdefault(edge.port, set()).add(edge.source)
        self._services: dict[str, set[str]] = {}
        self._rows: dict[str, set[str]] = {}
        for service in topology.services:
            for row in service.groups:
                for member in row.members:
                    subject = f"{member.source}/{member.destination}/{member.name}"
                    self._services.setdefault(subject, set()).add(service.id)
                    self._rows.setdefault(subject, set()).add(row.id)

    def services(self, subject: str) -> set[str]:
        """The services whose group this is."""
        return self._services.get(subject, set())

    def downstream(self, subject: str) -> set[str]:
        """Every service that gets, over any number of hops, what this group's service sends."""
        return _reached(self.services(subject), self._forth)

    def upstream(self, subject: str, hampered: set[str]) -> set[str]:
        """The services that send what this group reads, and on from those that are hampered themselves: a jam that has
        not reached a service has not gone through it."""
        places: set[str] = set()
        for row in self._rows.get(subject, ()):
            places |= self._read.get(row, set())
        return _reached(places, self._back, hampered)


def _reached(start: Iterable[str], edges: Mapping[str, set[str]], only_through: set[str] | None = None) -> set[str]:
    """The services that can be reached from `start`, which is not among them unless a circle leads back."""
    found: set[str] = set()
    waiting = deque(start)
    while waiting:
        for node in edges.get(waiting.popleft(), ()):
            if node in found:
                continue
            found.add(node)
            if only_through is None or not node.startswith("service:") or node in only_through:
                waiting.append(node)
    return {node for node in found if node.startswith("service:")}


NO_CHAINS = Chains(Topology())


def needs_graph(troubles: Sequence[Trouble]) -> bool:
    """Whether `follow` could find anything in a graph: a stop, and trouble elsewhere that nobody was told of."""
    stopped = {trouble.measurement.subject for trouble in troubles if trouble.stop}
    untold = {trouble.measurement.subject for trouble in troubles if not trouble.told}
    return bool(stopped) and len(stopped | untold) > 1


def follow(troubles: Sequence[Trouble], chains: Chains = NO_CHAINS) -> dict[Key, str]:
    """Which troubles are consequences, each with the subject of the stop that it follows from.

    Stops are asked in an order: what people were told of, who is gone, who stopped first. One that follows from an
    earlier one is no cause itself.
    """
    by_service: dict[str, list[Trouble]] = {}
    by_subject: dict[str, list[Trouble]] = {}
    for trouble in troubles:
        by_subject.setdefault(trouble.measurement.subject, []).append(trouble)
        for service in chains.services(trouble.measurement.subject):
            by_service.setdefault(service, []).append(trouble)
    found: dict[Key, str] = {}
    causes: set[str] = set()
    stops = [trouble for trouble in troubles if trouble.stop]
    for cause in sorted(stops, key=lambda one: (not one.told, not one.gone, one.began, one.key[1], one.key[0])):
        subject = cause.measurement.subject
        if cause.key in found or subject in causes:
            continue
        causes.add(subject)
        own = chains.services(subject)
        up = chains.upstream(subject, set(by_service)) - own
        down = chains.downstream(subject) - own - up
        same = [one for one in by_subject[subject] if not one.stop]
        beside = [one for service in own for one in by_service[service]]
        before = [one for service in up & by_service.keys() for one in by_service[service] if not one.gone]
        behind = [one for service in down & by_service.keys() for one in by_service[service] if _starved(one, cause)]
        for trouble in (*same, *beside, *before, *behind):
            if trouble.key in found or trouble.told or (trouble.stop and trouble.measurement.subject in causes):
                continue
            if trouble.rule.kind in WAITING and _explains(cause, trouble):
                found[trouble.key] = subject
                if trouble.stop:  # and with its stop whatever else is wrong with that group
                    for one in by_subject[trouble.measurement.subject]:
                        if one.rule.kind in HELD_BACK_BY_STOPPED and not one.told:
                            found.setdefault(one.key, subject)
    return found


def _starved(trouble: Trouble, cause: Trouble) -> bool:
    """Whether a stop further up can be behind it. Who still gets messages and is late is slow by itself, unless these
    are the wave after the stop; who is there and finishes nothing may wait for the one message that does not come."""
    if trouble.stop:
        return not trouble.gone
    return not trouble.measurement.in_rate or cause.recovering_since is not None


def _explains(cause: Trouble, trouble: Trouble) -> bool:
    """Not graver than its cause, and begun with it, or with the wave that goes through the chain when it is over."""
    if trouble.rule.severity == "critical" != cause.rule.severity:
        return False
    if trouble.measurement.subject == cause.measurement.subject:
        return True
    if cause.began - EARLIER <= trouble.began <= cause.began + ONSET:
        return True
    return cause.recovering_since is not None and trouble.breached_since >= cause.recovering_since
