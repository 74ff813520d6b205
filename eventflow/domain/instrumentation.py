"""What a library's messaging spans leave out and what follows from it, in plain sentences: instrumentation health.

Pure. Judges names and counts only; a field that a library cannot know is not asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from eventflow.domain.observations import Operation, Span

FIELDS = ("destination", "group", "message_id", "correlation_id")
CURRENT, UNTIL_1_26, UNTIL_1_20, UNTIL_1_16, OWN = (
    "1.27 and later",
    "1.21 to 1.26",
    "1.17 to 1.20",
    "1.16 or older",
    "own",
)
_BY_ATTRIBUTE = {
    **dict.fromkeys(
        (
            "messaging.operation.type",
            "messaging.operation.name",
            "messaging.consumer.group.name",
            "messaging.destination.subscription.name",
            "messaging.kafka.offset",
        ),
        CURRENT,
    ),
    **dict.fromkeys(
        ("messaging.kafka.consumer.group", "messaging.kafka.message.offset", "messaging.kafka.destination.partition"),
        UNTIL_1_26,
    ),
    **dict.fromkeys(
        (
            "messaging.source.name",
            "messaging.kafka.source.partition",
            "messaging.kafka.client_id",
            "messaging.consumer.id",
        ),
        UNTIL_1_20,
    ),
    **dict.fromkeys(
        (
            "messaging.destination",
            "messaging.message_id",
            "messaging.conversation_id",
            "messaging.kafka.partition",
            "messaging.kafka.consumer_group",
            "messaging.url",
        ),
        UNTIL_1_16,
    ),
}
_OWN = ("celery.", "nservicebus.", "spring.", "messaging.masstransit.", "rabbitmq.queue")
_PREFIXES = ("opentelemetry.instrumentation.", "io.opentelemetry.", "@opentelemetry/instrumentation-")
"""What all names of a family begin with says nothing in a sentence."""
ZIPKIN = "zipkin"
"""The scope of Zipkin's spans, whose tags our receiver translated."""
_ORDER = (CURRENT, UNTIL_1_26, UNTIL_1_20, UNTIL_1_16, OWN)


@dataclass(frozen=True, slots=True)
class Library:
    """A library (scope) in one service: its messaging spans, how many consume, and how many lack each field."""

    service: str
    scope: str
    dialect: str
    spans: int
    consuming: int
    missing: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        if not self.scope:
            return "This library"
        return next((self.scope[len(start) :] for start in _PREFIXES if self.scope.startswith(start)), self.scope)


def dialect(span: Span) -> str:
    """Which conventions the attributes belong to that told something; several when a library mixes them."""
    if span.messaging is None:
        return ""
    return "Zipkin" if span.scope == ZIPKIN else _dialect(tuple(span.messaging.rules.values()))


@lru_cache(maxsize=2048)
def _dialect(attributes: tuple[str, ...]) -> str:
    found = {_BY_ATTRIBUTE[name] for name in attributes if name in _BY_ATTRIBUTE}
    if not found and any(name.startswith(_OWN) for name in attributes):
        found = {OWN}
    return " and ".join(name for name in _ORDER if name in found) or "any"


def consumes(span: Span) -> bool:
    """Whether a consumer group belongs on it."""
    return span.messaging is not None and span.messaging.operation in (Operation.RECEIVE, Operation.PROCESS)


def missing(span: Span) -> tuple[str, ...]:
    """Which of FIELDS a messaging span lacks."""
    said = span.messaging
    if said is None:
        return ()
    found: tuple[str, ...] = () if said.destination else ("destination",)
    if consumes(span) and not said.group:
        found += ("group",)
    if not said.message_id and not said.offset:
        found += ("message_id",)
    if not said.correlation_id and not span.correlation_id:
        found += ("correlation_id",)
    return found


def sentences(library: Library) -> list[str]:
    """What it leaves out and what Eventflow makes of that; empty when nothing is missing."""
    found = []
    for name in FIELDS:
        count = library.missing.get(name, 0)
        total = library.consuming if name == "group" else library.spans
        if count and total:
            who = library.name if count >= total else f"{library.name}, in {_share(count, total)} of its spans,"
            found.append(_SENTENCES[name].format(who=who))
    return found


def _share(count: int, total: int) -> str:
    percent = round(100 * count / total)
    return f"{percent} %" if percent else "less than 1 %"


_SENTENCES = {
    "destination": "{who} names no destination: such a message is in its flow, but on no topic or queue.",
    "group": "{who} sends no consumer group: Eventflow shows the service's name instead.",
    "message_id": "{who} sends neither a message id nor an offset: a message is known by its links and parents only.",
    "correlation_id": "{who} sends no correlation id: its trace and what it links to is the flow; "
    "if an attribute of yours holds one, name it in EVENTFLOW_CORRELATION_KEYS.",
}
