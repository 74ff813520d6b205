"""The small marks that every page uses: icons, glyphs, statuses, identifiers, badges, sparklines, formats.

Built in to every template. All text that comes from outside is escaped here or by the template.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from eventflow.accounts import roles
from eventflow.domain import redaction
from eventflow.store.queries import alerts
from eventflow.web import formats

register = template.Library()

LETTERS = {"kafka": "K", "rabbitmq": "R", "nats": "N", "aws_sqs": "S", "redis": "Rd", "celery": "C", "pulsar": "P"}
NAMES = {
    "kafka": "Kafka",
    "rabbitmq": "RabbitMQ",
    "nats": "NATS",
    "aws_sqs": "SQS",
    "redis": "Redis",
    "celery": "Celery",
}
GLYPHS = {"ok": "ok", "warn": "warn", "crit": "crit", "idle": "idle", "run": "run", "dead": "dead", "pause": "pause"}

register.filter("count", formats.count)
register.filter("short", formats.short)
register.filter("duration", formats.duration)
register.filter("rate", formats.rate)
register.filter("percent", formats.percent)
register.filter("size", formats.size)


@register.filter
def clock(at: datetime | None) -> str:
    """14:32:10 UTC today, else with its date."""
    return formats.clock(at, timezone.now())


@register.filter
def clock_ms(at: datetime | None) -> str:
    """14:32:10.114"""
    return formats.clock(at, timezone.now(), millis=True)


@register.filter
def seconds_ago(at: datetime | None) -> float | None:
    """How long ago, in seconds: `{{ at|seconds_ago|duration }} ago`."""
    return None if at is None else max(0.0, (timezone.now() - at).total_seconds())


@register.filter
def between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from one instant to the next."""
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())


@register.filter
def secretless(text: str) -> str:
    """Free text from outside without passwords, tokens, card numbers."""
    return redaction.text(text)


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    return format_html('<svg class="i {}" aria-hidden="true"><use href="#i-{}"/></svg>', extra, name)


@register.simple_tag
def glyph(name: str, extra: str = "") -> SafeString:
    """A health glyph: ok, warn, crit, idle, run, dead, pause."""
    return format_html(
        '<svg class="g {}" aria-hidden="true"><use href="#g-{}"/></svg>', extra, GLYPHS.get(name, "idle")
    )


@register.simple_tag
def status(cls: str, text: str, mark: str = "") -> SafeString:
    """Glyph and word in the state's hue: `{% status "crit" "Failed at payment" %}`."""
    return format_html('<span class="st {}">{}{}</span>', cls, glyph(mark or cls), text)


@register.simple_tag
def ident(value: str, copy: bool = True, tail: int = 6) -> SafeString:
    """An identifier that shrinks in the middle, keeps its tail, and can be copied."""
    value = str(value)
    tail = tail if len(value) > tail + 3 else len(value)
    head = format_html('<span class="h">{}</span>', value[:-tail]) if len(value) > tail else ""
    code = format_html('<code class="id" title="{}">{}<span class="t">{}</span></code>', value, head, value[-tail:])
    if not copy:
        return code
    return format_html(
        '{}<button class="copy" type="button" data-copy="{}" aria-label="Copy {}">{}</button>',
        code,
        value,
        value,
        icon("copy", "sm"),
    )


@register.simple_tag
def broker(system: str) -> SafeString:
    """The broker's letter badge."""
    name = NAMES.get(system, system or "unknown")
    return format_html(
        '<span class="bk" title="{}">{}<span class="vh"> {}</span></span>', name, LETTERS.get(system, name[:2]), name
    )


def service_letters(name: str) -> str:
    """Two letters for a service: first letters of its first two words, else its first two."""
    words = [word for word in name.replace("_", "-").replace(".", "-").split("-") if word and word != "service"]
    if len(words) >= 2:
        return (words[0][0] + words[1][0]).lower()
    return (words[0][:2] if words else name[:2]).lower()


@register.simple_tag
def service(name: str, cls: str = "") -> SafeString:
    """A service as a two-letter dot; `crit` marks the one that failed, `ghost` one that was not reached."""
    title = name + {"crit": " (failed here)", "ghost": " (not reached)"}.get(cls, "")
    return format_html('<span class="sv {}" title="{}">{}</span>', cls, title, service_letters(name))


@lru_cache(maxsize=64)
def _steps(number: int, width: int) -> tuple[str, ...]:
    """Where the values of a sparkline lie; those of a table all have the same."""
    return tuple(f"{index * width / (number - 1):.1f}" for index in range(number))


@register.simple_tag
def spark(
    values: Sequence[float | None], width: int = 120, height: int = 24, cls: str = "", threshold: float | None = None
) -> SafeString:
    """A sparkline as inline SVG; gaps (None) are drawn at the last value."""
    known = [value for value in values if value is not None]
    if len(values) < 2 or not known:
        return format_html(
            '<svg class="spark {}" viewBox="0 0 {} {}" height="{}" aria-hidden="true"></svg>',
            cls,
            width,
            height,
            height,
        )
    top = max([*known, threshold or 0]) or 1
    last, points = known[0], []
    for x, value in zip(_steps(len(values), width), values, strict=True):
        last = last if value is None else value
        points.append(f"{x} {height - 2 - (height - 4) * last / top:.1f}")
    line = "M" + "L".join(points)
    limit = ""
    if threshold:
        y = f"{height - 2 - (height - 4) * threshold / top:.1f}"
        limit = f'<line class="th" x1="0" x2="{width}" y1="{y}" y2="{y}"/>'
    body = f'<path class="ar" d="{line}L{width} {height}L0 {height}Z"/>{limit}<path class="ln" d="{line}"/>'
    return format_html(
        '<svg class="spark {}" viewBox="0 0 {} {}" height="{}" preserveAspectRatio="none" aria-hidden="true">{}</svg>',
        cls,
        width,
        height,
        height,
        mark_safe(body),  # noqa: S308  # numbers formatted above, nothing from outside
    )


@register.simple_tag
def bell() -> tuple[list[alerts.IncidentView], list[alerts.IncidentView]]:
    """What fires and what ended just now: `{% bell as alarm %}`. One query."""
    return alerts.bell(timezone.now())


@register.filter
def service_class(state: str) -> str:
    """The class of a service's dot for its part in a flow (`ServiceMark.state`)."""
    return {"failed": "crit", "recovered": "warn", "waiting": "ghost"}.get(state, "")


@register.filter
def half(value: float) -> float:
    """For drawing something around its middle."""
    return value / 2


@register.filter
def known_from(evidence: str) -> str:
    """What an edge of the topology is known from, in words."""
    return {"seen": "spans", "configured": "broker only", "both": "spans and broker"}.get(evidence, evidence)


@register.simple_tag
def broker_mark(system: str, x: int, y: int) -> SafeString:
    """The broker's letter badge inside a drawing."""
    name = NAMES.get(system, system or "?")
    return format_html(
        '<rect class="bkb" x="{}" y="{}" width="16" height="16" rx="3"/><text class="bkt" x="{}" y="{}">{}</text>',
        x,
        y,
        x + 8,
        y + 11.5,
        LETTERS.get(system, name[:1].upper()),
    )


@register.filter
def slot(value: object) -> str:
    """A short stable id for element ids made from outside text."""
    return hashlib.blake2s(str(value).encode(), digest_size=6).hexdigest()


@register.filter
def may(user: object, role: str) -> bool:
    """`{% if user|may:"operator" %}`"""
    return roles.may(user, role)
