"""RabbitMQ: exchange, routing key and queue are three names that spans give to one way of messages. The broker's
bindings tell which belong together, so that the graph shows each real thing once.

A name that leads to one queue only is that queue; one that leads to several stays a node, and its readers are moved to
it. Where a consumer's span leaves its queue open (no group, or only its
service's name), the bindings tell it. What they do not settle stays as the spans say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from eventflow.domain.edge import EdgeKey, EdgeStats, Histogram
from eventflow.domain.replay import nats_match
from eventflow.domain.topology_model import GroupLag

SYSTEMS = frozenset({"rabbitmq"})


@dataclass(frozen=True, slots=True)
class Seen:
    """An edge as the graph has it, and what spans call it: the keys of its sums."""

    stats: EdgeStats
    keys: tuple[EdgeKey, ...]


def joined(edges: Iterable[EdgeStats], groups: Iterable[GroupLag]) -> list[Seen]:
    """Every edge by the name of the real thing, those that became the same added up."""
    edges = list(edges)
    queues = [one for one in groups if one.system in SYSTEMS and one.name == one.destination]
    if not queues:
        return [Seen(stats, (stats.key,)) for stats in edges]
    ways = _Ways(queues, edges)
    found: dict[EdgeKey, Seen] = {}
    for stats in edges:
        key = ways.key(stats.key) if stats.key.system in SYSTEMS else stats.key
        known = found.get(key)
        found[key] = Seen(replace(stats, key=key), (stats.key,)) if known is None else _added(known, stats)
    return list(found.values())


def _added(known: Seen, more: EdgeStats) -> Seen:
    one = known.stats
    processing, wait = Histogram(one.processing.counts), Histogram(one.wait.counts)
    processing.merge(more.processing)
    wait.merge(more.wait)
    firsts, lasts = ([at for at in pair if at] for pair in ((one.first_at, more.first_at), (one.last_at, more.last_at)))
    both = EdgeStats(
        one.key, one.count + more.count, one.errors + more.errors, processing, wait,
        min(firsts, default=None), max(lasts, default=None),
    )  # fmt: skip
    return Seen(both, (*known.keys, more.key))


class _Ways:
    """Which queues each name leads to, and what each is called here."""

    def __init__(self, queues: Sequence[GroupLag], edges: Sequence[EdgeStats]) -> None:
        self._services: dict[str, str] = {}
        self._exact: dict[str, set[str]] = {}
        self._wild: dict[str, set[str]] = {}
        for one in queues:
            self._services[one.name] = one.service or self._services.get(one.name, "")
            for name in (one.name, *one.subscriptions):
                into = self._wild if "*" in name or ">" in name else self._exact
                into.setdefault(name, set()).add(one.name)
        keys = [stats.key for stats in edges if stats.key.system in SYSTEMS]
        self._reached = {name: self._reach(name) for name in {key.destination for key in keys}}
        self._names = self._named()
        self._feeding: dict[str, set[str]] = {}
        for name in {self._names[key.destination] for key in keys if key.kind == "publish"}:
            for queue in self._reach(name):
                self._feeding.setdefault(queue, set()).add(name)

    def key(self, key: EdgeKey) -> EdgeKey:
        """As the graph names it."""
        if key.kind != "consume":
            return replace(key, destination=self._names[key.destination])
        queue = self._queue(key)
        if queue is None:
            return replace(key, destination=self._names[key.destination])
        feeding, named = self._feeding.get(queue, set()), self._names[key.destination]
        if named not in feeding:
            named = feeding.copy().pop() if len(feeding) == 1 else queue
        return replace(key, destination=named, group=queue)

    def _queue(self, key: EdgeKey) -> str | None:
        """The queue that a consumer read: the one its span names, or the only one that it can be."""
        reached = self._reached[key.destination]
        if key.group in reached:
            return key.group
        if len(reached) == 1:
            return next(iter(reached))
        own = [queue for queue in sorted(reached) if key.service and key.service in (self._services[queue], queue)]
        return own[0] if len(own) == 1 else None

    def _named(self) -> Mapping[str, str]:
        """What each name that spans use is called in the graph."""
        names = {name: name for name in self._reached}
        for name, reached in self._reached.items():
            if len(reached) == 1:
                names[name] = next(iter(reached))
            elif reached and not self._taking(name):
                names[name] = self._key_in(name, reached)
        return names

    def _taking(self, name: str) -> set[str]:
        """The queues that are bound by this exchange or key, or are called so."""
        wild = (queues for pattern, queues in self._wild.items() if nats_match(pattern, name))
        return self._exact.get(name, set()).union(*wild)

    def _reach(self, name: str) -> frozenset[str]:
        """The queues that a message gets to which is published or received under this name."""
        if name in self._services and self._exact[name] == {name}:
            return frozenset({name})
        if (taking := self._taking(name)) or ":" not in name:
            return frozenset(taking)
        # Java's agent writes exchange:routing_key:queue, and leaves out what is not known.
        for exchange, key, queue in _parts(name):
            if queue in self._services:
                return frozenset({queue})
            if taking := self._exact.get(exchange, set()) & self._taking(key):
                return frozenset(taking)
        return frozenset({name.rpartition(":")[2]} & self._services.keys())

    def _key_in(self, name: str, reached: frozenset[str]) -> str:
        """The routing key in `exchange:routing_key`, by which the bindings know it."""
        return next((key for _, key, _ in _parts(name) if reached <= self._taking(key)), name)


def _parts(name: str) -> Iterable[tuple[str, str, str]]:
    """Every way to read it as exchange, key and (empty) queue: exchanges' names may hold colons too."""
    words = name.split(":")
    for first in range(1, len(words)):
        exchange, rest = ":".join(words[:first]), words[first:]
        yield exchange, ":".join(rest), ""
        if len(rest) > 1:
            yield exchange, ":".join(rest[:-1]), rest[-1]
