"""Which attribute or header holds a flow's id: the default keys in their order of trust, the operator's own first.

Names are compared without case and punctuation, so X-Correlation-ID, correlation_id and correlationId are one name.
Pure; a list of several different values (a batch) is no answer, because which message it belongs to would be a guess.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import unquote

from collectors.conventions.messaging import LONGEST_NAME, text
from eventflow.domain.observations import Attributes, AttributeValue

TRUST = (
    # OpenTelemetry
    ("messagingmessageconversationid", "messagingconversationid"),
    # Frameworks' flow ids
    ("nservicebusconversationid", "masstransitconversationid", "mtconversationid"),
    ("rbs2corrid", "capcorrid", "rootid"),
    ("conversationid",),
    # CloudEvents' correlation extension in its spellings
    ("cecorrelationid", "cloudeventscorrelationid", "cloudeventseventcorrelationid"),
    # The names applications and libraries choose
    ("correlationid", "xcorrelationid", "correlation"),
    # Per-call ids: a request and its reply, often the whole flow
    ("nservicebuscorrelationid", "masstransitcorrelationid"),
    ("jmscorrelationid", "amqpcorrelationid", "kafkacorrelationid"),
    ("xrequestid",),
)
RANKS = {name: rank for rank, names in enumerate(TRUST) for name in names}
CELERY_TASK_ID = frozenset(
    ("messaging.message.conversation_id", "messaging.conversation_id", "celery.correlation_id", "correlation_id")
)
"""On Celery's spans these hold the task's id, which names the message and not the flow."""
FEW_NAMES, FEW_CHARS = 48, 2_000
"""Of spans with more names of attributes, or longer ones, nothing is remembered: hostile ones shall not fill memory."""
FOREIGN = ("gen_ai.",)
"""Prefixes whose ids are called conversations but are none of messages."""


def find(attributes: Attributes, extra_keys: Sequence[str] = ()) -> tuple[str, str] | None:
    """The flow's id on a span and the attribute that gave it. `extra_keys`: the operator's, in their order."""
    extra = tuple(extra_keys)
    names = tuple(attributes)
    few = len(names) <= FEW_NAMES and len("".join(names)) <= FEW_CHARS
    candidates = (_ranked_alike if few else _ranked)(names, extra)
    if not candidates:
        return None
    celery = attributes.get("messaging.system") == "celery" or any(name.startswith("celery.") for name in attributes)
    for rank, name in candidates:
        if celery and rank >= len(extra) and name in CELERY_TASK_ID:
            continue
        value = text(attributes[name])
        if value is not None:
            return value, name
    return None


def _ranked(names: tuple[str, ...], extra: tuple[str, ...]) -> Sequence[tuple[int, str]]:
    """Those that may hold the flow's id, the best first."""
    return sorted(
        (rank, name) for name in names if len(name) < LONGEST_NAME and (rank := attribute_rank(name, extra)) is not None
    )  # equal ranks: by name, so that the answer does not hang on the order of sending


# The spans of one place in a program have the same names, in the same order.
_ranked_alike = lru_cache(maxsize=1_024)(_ranked)


def find_in_headers(
    headers: Iterable[tuple[str, str | bytes]], extra_keys: Sequence[str] = ()
) -> tuple[str, str] | None:
    """The flow's id in a message's headers and the header (or baggage entry) that gave it."""
    merged: dict[str, list[AttributeValue]] = {}
    for name, value in headers:
        merged.setdefault(name, []).append(value)
    extra = tuple(extra_keys)
    misleading = _misleading(merged)
    for rank, name in _ranked_headers(merged, extra):
        if rank >= len(extra) and name in misleading:
            continue
        if (found := text(merged[name])) is not None:
            return found, name
    if "axon-message-id" in merged and "causationId" not in merged and (root := text(merged.get("traceId"))):
        return root, "traceId"
    return _in_baggage(merged, extra)


def _ranked_headers(names: Iterable[str], extra: tuple[str, ...]) -> list[tuple[int, str]]:
    return sorted(
        (rank, name) for name in names if len(name) < LONGEST_NAME and (rank := _header_rank(name, extra)) is not None
    )


def _misleading(headers: dict[str, list[AttributeValue]]) -> frozenset[str]:
    """Names that mean something else in the framework these headers come from."""
    if "root_id" in headers and "task" in headers:
        return frozenset(("correlation_id", "correlationId", "correlation-id"))  # Celery: the task's id
    if "axon-message-id" in headers and "causationId" not in headers:
        return frozenset(("correlationId",))  # Axon 4: the parent's id
    if "correlation-id" in headers and "conversation-id" in headers:
        return frozenset(("conversation-id",))  # Wolverine: the cause's id
    return frozenset()


def _in_baggage(headers: dict[str, list[AttributeValue]], extra: tuple[str, ...]) -> tuple[str, str] | None:
    found: dict[str, str] = {}
    for header, values in headers.items():
        if header.lower() != "baggage":
            continue
        for member in ",".join(value for value in map(text, values) if value).split(","):
            name, _, encoded = member.split(";", 1)[0].partition("=")
            if encoded.strip():
                found[name.strip()] = unquote(encoded.strip())
    ranked = _ranked_headers(found, extra)
    return (found[ranked[0][1]], f"baggage {ranked[0][1]}") if ranked else None


def normal(name: str) -> str:
    """A name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=8192)
def _header_rank(name: str, extra: tuple[str, ...]) -> int | None:
    return _rank((normal(name),), extra)


@lru_cache(maxsize=8192)
def attribute_rank(name: str, extra: tuple[str, ...]) -> int | None:
    """Attributes are namespaced (order.correlation_id, messaging.header.x-correlation-id): any tail of parts counts."""
    parts = name.split(".")
    rank = _rank(tuple(normal(".".join(parts[start:])) for start in range(len(parts))), extra)
    return None if rank is not None and rank >= len(extra) and name.startswith(FOREIGN) else rank


def _rank(spellings: tuple[str, ...], extra: tuple[str, ...]) -> int | None:
    for position, key in enumerate(extra):
        if normal(key) in spellings:
            return position
    return next((len(extra) + RANKS[spelling] for spelling in spellings if spelling in RANKS), None)
