"""What people write about alerts, as it came and as it is meant. Checks, never saves."""

import math
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from eventflow.domain.alert import SHARES, Kind
from eventflow.domain.notification import address_problem
from eventflow.store.queries.alerts import RuleView
from eventflow.store.record.alert_settings import RuleForm, channel_name_taken

KINDS = {
    Kind.LAG: "Lag",
    Kind.STOPPED: "Stopped",
    Kind.DRIFTING: "Not recovering",
    Kind.RETENTION: "Loss",
    Kind.SKEW: "One partition",
    Kind.DEAD_LETTERS: "Dead letters",
    Kind.FLOOD: "Flood",
    Kind.UNREACHABLE: "Lost letters",
    Kind.BLIND: "Out of sight",
}
TIMED = frozenset({Kind.LAG, Kind.STOPPED})
COUNTED = frozenset({Kind.LAG, Kind.SKEW, Kind.DEAD_LETTERS, Kind.FLOOD})
USUAL: dict[str, dict[str, Any]] = {
    Kind.LAG: {"age": "30", "hold": "10"},
    Kind.STOPPED: {"age": "60", "hold": "10", "recover": "2", "recover_unit": "min", "severity": "critical"},
    Kind.DRIFTING: {"recover": "10", "recover_unit": "min"},
    Kind.RETENTION: {"share": "70", "hold": "10", "severity": "critical"},
    Kind.SKEW: {"share": "50", "messages": "100", "hold": "2", "hold_unit": "min"},
    Kind.DEAD_LETTERS: {"messages": "0", "recover": "0"},
    Kind.FLOOD: {"share": "1", "messages": "10", "hold": "5", "hold_unit": "min", "severity": "critical"},
    Kind.UNREACHABLE: {"share": "70", "hold": "30", "recover": "0"},
    Kind.BLIND: {"hold": "30", "recover": "0"},
}
"""What a new rule of a kind begins with."""
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(slots=True)
class Form:
    """The fields as text: what was typed comes back as it was."""

    pk: int | None
    kind: str
    name: str = ""
    pattern: str = "*"
    severity: str = "warning"
    age: str = ""
    age_unit: str = "s"
    messages: str = ""
    share: str = ""
    hold: str = "0"
    hold_unit: str = "s"
    recover: str = "60"
    recover_unit: str = "s"
    channels: tuple[int, ...] = ()
    sentence: str = ""
    errors: dict[str, str] = field(default_factory=dict)


def _parts(seconds: float | None) -> tuple[str, str]:
    """A duration as a number and the largest unit that fits it whole."""
    if seconds is None:
        return "", "s"
    unit = next((name for name in ("h", "min") if seconds >= UNITS[name] and seconds % UNITS[name] == 0), "s")
    return f"{seconds / UNITS[unit]:g}", unit


def blank(kind: str, pattern: str = "*") -> Form:
    """A new rule with the usual values."""
    name = "" if pattern == "*" else f"{KINDS[Kind(kind)]} of {pattern}"[:200]
    return Form(None, kind, name=name, pattern=pattern, **USUAL[kind])


def of_rule(rule: RuleView) -> Form:
    """A rule to be changed."""
    age, age_unit = _parts(rule.seconds)
    hold, hold_unit = _parts(rule.for_seconds)
    recover, recover_unit = _parts(rule.recover_seconds)
    return Form(
        pk=rule.pk,
        kind=rule.kind,
        name=rule.name,
        pattern=rule.pattern,
        severity=rule.severity,
        age=age,
        age_unit=age_unit,
        messages="" if rule.messages is None else str(rule.messages),
        share="" if rule.share is None else f"{rule.share:g}",
        hold=hold,
        hold_unit=hold_unit,
        recover=recover,
        recover_unit=recover_unit,
        channels=rule.channel_pks,
        sentence=rule.sentence,
    )


def from_post(post: QueryDict) -> Form:
    """The fields as they were sent."""
    pk = post.get("pk", "")
    names = (
        "kind",
        "name",
        "pattern",
        "severity",
        "age",
        "age_unit",
        "messages",
        "share",
        "hold",
        "hold_unit",
        "recover",
    )
    texts: dict[str, Any] = {name: post.get(name, "").strip()[:300] for name in (*names, "recover_unit")}
    channels = tuple(int(value) for value in post.getlist("channels") if value.isdecimal() and len(value) < 18)
    return Form(pk=int(pk) if pk.isdecimal() and len(pk) < 18 else None, channels=channels, **texts)


def number(text: str) -> float | None:
    """A finite number not below zero, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def check(form: Form) -> tuple[RuleForm | None, dict[str, str]]:
    """The rule that is meant, or what is wrong by field."""
    errors: dict[str, str] = {}

    def seconds(name: str) -> float:
        value = number(getattr(form, name) or "0")
        if value is None or value * UNITS.get(getattr(form, f"{name}_unit"), 1.0) > 30 * 86_400:
            errors[name] = "A number from 0 on, up to 30 days."
            return 0.0
        return value * UNITS.get(getattr(form, f"{name}_unit"), 1.0)

    waiting = number(form.messages) if form.messages else None
    if form.messages and (waiting is None or waiting != int(waiting) or waiting > 10**15):
        errors["messages"] = "A whole number from 0 on."
    age = seconds("age") if form.age else None
    if form.kind not in KINDS:
        errors["kind"] = "No such kind of rule."
    if form.kind == Kind.LAG and age is None and not form.messages:
        errors["age"] = "Say from which age or which number on it is too much."
    if not form.name or len(form.name) > 200:
        errors["name"] = "Give it a name of up to 200 characters."
    if form.severity not in ("critical", "warning"):
        errors["severity"] = "Critical or warning."
    share = number(form.share) if form.share else None
    if form.kind in SHARES and (share is None or not 0 < share <= 100):
        errors["share"] = "A percentage over 0, up to 100."
    hold, recover = seconds("hold"), seconds("recover")
    if errors:
        return None, errors
    count = None if waiting is None else int(waiting)
    if form.kind != Kind.LAG and form.kind in COUNTED:
        count = count or 0
    return (
        RuleForm(
            name=form.name,
            kind=form.kind,
            pattern=form.pattern or "*",
            severity=form.severity,
            seconds=age if form.kind in TIMED else None,
            messages=count if form.kind in COUNTED else None,
            share=share if form.kind in SHARES else None,
            for_seconds=hold,
            recover_seconds=recover,
            channels=form.channels,
        ),
        {},
    )


def channel(post: QueryDict) -> tuple[str, tuple[str, str, str] | None]:
    """What is wrong, or the new channel's name, kind and address."""
    name, kind, url = (post.get(key, "").strip() for key in ("name", "kind", "url"))
    if not name or len(name) > 100:
        return "give it a name of up to 100 characters.", None
    if channel_name_taken(name):
        return "there is a channel of this name.", None
    if kind not in ("webhook", "apprise"):
        return "choose a kind.", None
    problem = "the address is too long." if len(url) > 2000 else address_problem(kind, url)
    return (problem, None) if problem else ("", (name, kind, url))
