"""A letter's headers → what failed, where, why and how often, with the header that said so for each field. Pure.

Headers are forged easily: everything here is text to show, cut to a length, never followed as an address by itself.
"""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from collectors.base import REPLAY_HEADER
from collectors.conventions import x_death
from collectors.conventions.correlation import find_in_headers
from collectors.conventions.dead_letter_names import (
    CLOUD_EVENT_PREFIXES,
    CLOUD_EVENTS,
    FRAMEWORKS,
    HOME_MADE,
    PREFIXES,
    Convention,
)

Headers = Sequence[tuple[str, str]]

MAX_HEADERS = 200
MAX_HEADER_CHARS = 64 * 1024
MAX_HEADERS_CHARS = 256 * 1024
MAX_FIELD_CHARS = 1024
MAX_TEXT_CHARS = 32 * 1024

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_BY_WORDS = {phrase: role for role, phrases in HOME_MADE.items() for phrase in phrases}
_NUMBERS = {"attempts", "offset", "partition"}
_ORIGIN = {"destination", "container", "partition", "offset", "group"}
_TIMES = {"failed_at", "published_at"}
_LONG = {"error_message", "stack", "cause_message"}
_WHY = {"error_type", "error_message", "stack", "cause_type"}
_WHERE = {"destination", "container", "offset", "group", "attempts", "failed_at"}

_STRONG_NAME = {"dlq", "dlt", "dlx", "dead", "deadletter", "deadletters", "poison"}
_WEAK_NAME = {"error", "errors", "failed", "failures", "parked", "undeliverable", "rejected", "invalid"}


@dataclass(slots=True)
class Failure:
    """What the headers told. `fields` are DeadLetter's; `container`, `partition`, `offset`: the original message."""

    fields: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)
    container: str | None = None
    offset: int | None = None
    partition: int | None = None
    proved: bool = False
    """The headers alone prove a dead letter: they say why, and where or how often."""


def _words(name: str) -> tuple[str, bool]:
    """A header's name as lower-case words without what stands in front, and whether something did."""
    words = [word.lower() for word in _WORDS.findall(name)]
    kept = list(words)
    while len(kept) > 1 and kept[0] in PREFIXES:
        kept.pop(0)
    return " ".join(kept), len(kept) < len(words)


def named_like_dead_letters(name: str) -> str | None:
    """``strong`` (dlq, dead-letter, poison …), ``weak`` (errors, failed …: needs headers too) or None."""
    words = {word.lower() for word in _WORDS.findall(name)}
    if words & _STRONG_NAME:
        return "strong"
    return "weak" if words & _WEAK_NAME else None


def named_origin(name: str) -> str | None:
    """What a dead-letter place's name leaves when the dead-letter words are taken out: `dlq.payment` → `payment`."""
    noise = _STRONG_NAME | _WEAK_NAME | {"letter", "letters", "queue", "topic", "x"}
    left = [part for part in re.split(r"[._\-/:]+", name) if part.lower() not in noise and part not in {"*", ">"}]
    return ".".join(left) or None


def number(value: str) -> int | None:
    """Decimal text, or the 4 or 8 big-endian bytes that Java clients write."""
    if value.isascii() and value.isdigit():
        return int(value) if len(value) < 20 else None
    try:
        raw = base64.b64decode(value[7:], validate=True) if value.startswith("base64:") else value.encode()
    except ValueError:
        return None
    plausible = len(raw) in {1, 4, 6, 8} and (raw[0] < 32 or value.startswith("base64:"))
    return int.from_bytes(raw, "big") if plausible else None


def instant(value: str) -> datetime | None:
    """ISO 8601, NServiceBus's text, or an epoch in seconds, ms, µs or ns; None for what is none."""
    count = number(value)
    try:
        if count is not None:
            digits = len(str(count))
            scale = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}.get(digits)
            return datetime.fromtimestamp(count / scale, UTC) if scale else None
        if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{6} Z", value):
            return datetime.strptime(value, "%Y-%m-%d %H:%M:%S:%f Z").replace(tzinfo=UTC)
        found = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _value(role: str, text: str) -> Any:
    if role in _NUMBERS:
        return number(text)
    if role in _TIMES:
        return instant(text)
    if role == "stack" and "\n" not in text:
        # Headers hold one line on most brokers: senders write the line ends of a trace as escapes.
        text = text.replace("\\r\\n", "\n").replace("\\n", "\n").replace("\\t", "\t")
    return text[: MAX_TEXT_CHARS if role in _LONG else MAX_FIELD_CHARS] or None


def _framework(headers: Headers) -> Convention | None:
    return next((c for c in FRAMEWORKS if any(name.startswith(c.marks) for name, _ in headers)), None)


def read(
    headers: Headers,
    *,
    known: bool = False,
    correlation_keys: Sequence[str] = (),
) -> Failure:
    """What the headers of a letter tell.

    `known`: the place is known to hold dead letters, so that single common words without a prefix (`error`) count too.
    `correlation_keys`: the operator's own, before the default ones.
    """
    found: dict[str, Any] = {}
    evidence: dict[str, str] = {}

    def put(role: str, value: Any, name: str) -> None:
        if value is not None and role not in found:
            found[role] = value
            evidence[role] = f"header {name[:200]}"

    framework = _framework(headers)
    if framework:
        for name, table in headers:
            for found_role, told in x_death.read(table).items() if name == "x-death" else ():
                put(found_role, _value(found_role, told) if isinstance(told, str) else told, name)
        # Frameworks append to repeated names: the first tells where it began, the last what went wrong in the end.
        for pairs, origin in ((headers, True), (list(reversed(headers)), False)):
            for name, text in pairs:
                if (role := framework.roles.get(name)) and (role in _ORIGIN) == origin:
                    put(role, _value(role, text), name)
    for prefixed_only in (True, False):
        for name, text in headers:
            words, prefixed = _words(name)
            role = _BY_WORDS.get(words)
            if role and (prefixed == prefixed_only) and (prefixed or known or " " in words):
                put(role, _value(role, text), name)
    failing = set(found)
    _from_standards(headers, put)
    if hit := find_in_headers(headers, correlation_keys):
        found["correlation_id"], evidence["correlation_id"] = hit[0][:MAX_FIELD_CHARS], f"header {hit[1][:200]}"
    if "cause_type" in found:
        found["error_type"], evidence["error_type"] = found.pop("cause_type"), evidence.pop("cause_type")
    container, offset = found.pop("container", None), found.pop("offset", None)
    partition = found.pop("partition", None)
    found["convention"] = framework.name if framework else "home-made headers" if failing & (_WHY | _WHERE) else None
    kept = {role: said for role, said in evidence.items() if role in found}
    return Failure(found, kept, container, offset, partition, proved=bool(failing & _WHY and failing & _WHERE))


def _from_standards(headers: Headers, put: Callable[[str, Any, str], None]) -> None:
    """CloudEvents in binary mode, W3C trace context, content type, our own replay header, NATS's message id."""
    for name, text in headers:
        lower = name.lower()
        for prefix in CLOUD_EVENT_PREFIXES:
            if lower.startswith(prefix) and (role := CLOUD_EVENTS.get(lower[len(prefix) :])):
                put(role, _value(role, text), name)
        if lower == "traceparent" and (match := _TRACEPARENT.fullmatch(text.strip())):
            put("trace_id", match[1], name)
            put("span_id", match[2], name)
        elif lower == "content-type":
            put("content_type", _value("content_type", text), name)
        elif lower == REPLAY_HEADER.lower():
            put("replay_token", _value("replay_token", text), name)
    for name, text in headers:
        if name.lower() == "nats-msg-id":
            put("message_id", _value("message_id", text), name)


def capped(headers: Headers) -> tuple[tuple[tuple[str, str], ...], str | None]:
    """Headers cut to what is stored, and a sentence when something was cut."""
    kept: list[tuple[str, str]] = []
    room, cut = MAX_HEADERS_CHARS, len(headers) > MAX_HEADERS
    for name, value in headers[:MAX_HEADERS]:
        short = value[: min(MAX_HEADER_CHARS, max(0, room))]
        cut = cut or len(short) < len(value)
        kept.append((name[:MAX_FIELD_CHARS], short))
        room -= len(short) + len(name)
    return tuple(kept), "headers were cut to what is stored" if cut else None
