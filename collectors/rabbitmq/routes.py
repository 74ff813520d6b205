"""Where a queue's dead letters go: exchange and key of its arguments or policy, resolved against the bindings. Pure.

A letter whose exchange is missing, or that no binding takes, is dropped by the broker without a word: told here.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_KEYS = 50


@dataclass(frozen=True, slots=True)
class Binding:
    """`key` of a headers exchange says nothing."""

    source: str
    target: str
    to_queue: bool
    key: str


@dataclass(frozen=True, slots=True)
class Route:
    """Where one queue's letters arrive. `lost` says why none can."""

    queue: str
    targets: tuple[str, ...]
    lost: str | None = None


@dataclass(slots=True)
class Map:
    """A vhost's exchanges (name → type), their alternates, and bindings."""

    exchanges: dict[str, str] = field(default_factory=dict)
    alternates: dict[str, str] = field(default_factory=dict)
    queues: set[str] = field(default_factory=set)
    _from: dict[str, list[Binding]] = field(default_factory=lambda: defaultdict(list))
    _into: dict[str, list[Binding]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, exchanges: object, bindings: object, queues: Iterable[str]) -> "Map":
        """From the management API's lists."""
        found = cls(queues=set(queues))
        for one in dicts(exchanges):
            name = str(one.get("name", ""))
            found.exchanges[name] = str(one.get("type", ""))
            alternate = (one.get("arguments") or {}).get("alternate-exchange")
            if isinstance(alternate, str):
                found.alternates[name] = alternate
        for one in dicts(bindings):
            binding = Binding(
                str(one.get("source", "")),
                str(one.get("destination", "")),
                one.get("destination_type") == "queue",
                str(one.get("routing_key", "")),
            )
            if binding.source:  # every queue is bound to the default exchange by its name
                found._from[binding.source].append(binding)
                found._into[binding.target].append(binding)
        return found

    def bound_to(self, queue: str) -> tuple[str, ...]:
        """What publishers and spans may call what feeds a queue: exchanges, those behind them, and routing keys.

        A trailing `#` is written `>`, as patterns are elsewhere.
        """
        names: dict[str, None] = {}
        keys: dict[str, None] = {}
        waiting = [binding for binding in self._into.get(queue, ()) if binding.to_queue]
        while waiting:
            binding = waiting.pop()
            if binding.key and self.exchanges.get(binding.source) in ("direct", "topic"):
                keys[binding.key[:-1] + ">" if binding.key.endswith(".#") else binding.key] = None
            if binding.source not in names:
                names[binding.source] = None
                waiting += [further for further in self._into.get(binding.source, ()) if not further.to_queue]
        return (*sorted(names), *sorted(keys.keys() - names.keys())[:MAX_KEYS])

    def resolve(self, exchange: str, key: str | None, seen: frozenset[str] = frozenset()) -> set[str]:
        """The queues that a message on `exchange` with `key` reaches. Without a key: those that it may reach."""
        if exchange == "":
            return {key} & self.queues if key is not None else set()
        if exchange in seen:
            return set()
        kind, reached, behind = self.exchanges.get(exchange, ""), set(), seen | {exchange}
        for binding in self._from.get(exchange, ()):
            if key is not None and not takes(kind, binding.key, key):
                continue
            reached |= {binding.target} if binding.to_queue else self.resolve(binding.target, key, behind)
        if not reached and exchange in self.alternates:
            return self.resolve(self.alternates[exchange], key, behind)
        return reached

    def route(self, queue: str, settings: Mapping[str, Any]) -> Route | None:
        """A queue's dead-letter route; None when it has none. `settings`: what `settings` below made of it."""
        exchange, key = settings.get("dead-letter-exchange"), settings.get("dead-letter-routing-key")
        if not isinstance(exchange, str):
            return None
        key = key if isinstance(key, str) else None
        if exchange == "":
            # Without a key of its own the letter goes back to where its own key names a queue: nobody can know which.
            if key is None or key in self.queues:
                return Route(queue, (key,) if key else ())
            return Route(queue, (), f"there is no queue {key}")
        if exchange not in self.exchanges:
            return Route(queue, (), f"there is no exchange {exchange}")
        targets = self.resolve(exchange, key)
        if not targets:
            with_key = f" with key {key}" if key is not None else ""
            return Route(queue, (), f"nothing is bound to exchange {exchange}{with_key}")
        return Route(queue, tuple(sorted(targets)))


def takes(kind: str, pattern: str, key: str) -> bool:
    """Whether an exchange of this kind takes `key` along a binding. Unknown kinds may take anything."""
    if kind == "direct":
        return pattern == key
    if kind == "topic":
        return _topic(pattern.split("."), key.split("."))
    return True


def _topic(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_topic(pattern[1:], words[start:]) for start in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _topic(pattern[1:], words[1:])


def settings(arguments: object, policy: object) -> dict[str, Any]:
    """A queue's effective settings: its own arguments win over its policy."""
    merged = dict(policy) if isinstance(policy, dict) else {}
    for name, value in (arguments if isinstance(arguments, dict) else {}).items():
        merged[str(name).removeprefix("x-")] = value
    return merged


def dicts(answer: object) -> list[dict[str, Any]]:
    """The rows of an answer."""
    return [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []
