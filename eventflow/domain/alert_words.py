"""Alert rules and incidents in words: the rule as a sentence, what is wrong in one line, how much and how fast."""

from collections.abc import Callable, Mapping

from eventflow.domain import words
from eventflow.domain.alert import OF_GROUPS, SHARES, Kind, Measurement, Rule


def sentence(rule: Rule) -> str:
    """The rule as a person would say it: "Oldest waiting message of email is older than 30 s for 10 s"."""
    anything = rule.pattern.strip() in ("", "*")
    duration = f" for {words.limit(rule.for_seconds)}" if rule.for_seconds else ""
    text = _SENTENCES[rule.kind](rule, anything)
    return text[0].upper() + text[1:] + duration


def _lag(rule: Rule, anything: bool) -> str:
    who = _who(rule, anything)
    parts = []
    if rule.seconds is not None:
        parts.append(f"oldest waiting message of {who} is older than {words.limit(rule.seconds)}")
    if rule.messages is not None:
        parts.append(f"more than {words.count(rule.messages)} messages wait for {who}")
    return " or ".join(parts) or f"no limit is set for {who}"


def _stopped(rule: Rule, anything: bool) -> str:
    waits = f" while a message waits longer than {words.limit(rule.seconds)}" if rule.seconds else ""
    return f"{_who(rule, anything)} finishes nothing{waits}"


def _drifting(rule: Rule, anything: bool) -> str:
    return f"the lowest lag of {_who(rule, anything)} keeps rising, so that it will not recover by itself"


def _retention(rule: Rule, anything: bool) -> str:
    return f"what waits for {_who(rule, anything)} is over {share(rule)} of what is kept, or some was lost"


def _skew(rule: Rule, anything: bool) -> str:
    return (
        f"one partition has over {share(rule)} of more than {words.count(rule.messages or 0)} messages "
        f"that wait for {_who(rule, anything)}"
    )


def _dead_letters(rule: Rule, anything: bool) -> str:
    where = "" if anything else f" at {rule.pattern}"
    if not rule.messages:
        return f"a dead letter arrives{where}"
    return f"more than {words.count(rule.messages)} dead letters of one cause arrive{where}"


def _flood(rule: Rule, anything: bool) -> str:
    return (
        f"over {share(rule)} of what {_who(rule, anything)} takes becomes dead letters, "
        f"more than {words.count(rule.messages or 0)} within 5 min,"
    ).rstrip("," if not rule.for_seconds else "")


def _unreachable(rule: Rule, anything: bool) -> str:
    whose = "any queue or topic" if anything else rule.pattern
    return f"dead letters of {whose} can't arrive, or those that wait are at over {share(rule)} of what is kept"


def _blind(rule: Rule, anything: bool) -> str:
    return f"{'any source' if anything else f'source {rule.pattern}'} is out of sight"


def _who(rule: Rule, anything: bool) -> str:
    return "any group" if anything else rule.pattern


def share(rule: Rule) -> str:
    """The rule's limit in percent."""
    return f"{SHARES[rule.kind] if rule.share is None else rule.share:g} %"


_SENTENCES: Mapping[Kind, Callable[[Rule, bool], str]] = {
    Kind.LAG: _lag,
    Kind.STOPPED: _stopped,
    Kind.DRIFTING: _drifting,
    Kind.RETENTION: _retention,
    Kind.SKEW: _skew,
    Kind.DEAD_LETTERS: _dead_letters,
    Kind.FLOOD: _flood,
    Kind.UNREACHABLE: _unreachable,
    Kind.BLIND: _blind,
}


def title(rule: Rule, measurement: Measurement) -> str:
    """What is wrong, in one line."""
    who, value = measurement.label, measurement.shares.get(rule.kind)
    if rule.kind == Kind.BLIND:
        return f"{who} is out of sight"
    if rule.kind == Kind.DEAD_LETTERS:
        number = measurement.messages or 0
        return f"{words.count(number)} dead letter{'' if number == 1 else 's'}: {who}"
    if rule.kind == Kind.STOPPED:
        return f"{who} finishes nothing"
    if rule.kind == Kind.DRIFTING:
        return f"{who} will not recover by itself"
    if rule.kind == Kind.RETENTION:
        return f"{who} lost messages" if measurement.lost else f"{who} is at {value or 0:.0f} % of what is kept"
    if rule.kind == Kind.SKEW:
        return f"One partition holds {value or 0:.0f} % of the lag of {who}"
    if rule.kind == Kind.FLOOD:
        return f"{value or 0:.3g} % of what {who} takes becomes dead letters"
    if rule.kind == Kind.UNREACHABLE:
        if not measurement.lost:
            return f"Dead letters at {who} are at {value or 0:.0f} % of what is kept"
        return f"Dead letters at {who} can't stay" if measurement.place else f"Dead letters of {who} can't arrive"
    return _late(rule, measurement)


def _late(rule: Rule, measurement: Measurement) -> str:
    over = rule.messages is not None and (measurement.messages or 0) > rule.messages
    late = rule.seconds is not None and (measurement.seconds or 0) > rule.seconds
    if rule.seconds is not None and measurement.seconds is not None and (late or not over):
        if measurement.seconds == 0:
            return f"{measurement.label} caught up"
        return f"{measurement.label} is {words.duration(measurement.seconds)} behind"
    return f"{words.count(measurement.messages)} messages wait for {measurement.label}"


def detail(rule: Rule, measurement: Measurement) -> str:
    """How much, how fast, until when, and the rule that says so."""
    parts = []
    if rule.kind in OF_GROUPS:
        on = f" on {measurement.place}" if measurement.place else ""
        age, waiting = words.duration(measurement.seconds), words.count(measurement.messages)
        noun = "message" if measurement.messages == 1 else "messages"
        parts.append(f"Oldest waiting {age}, {waiting} {noun}{on}.")
        if measurement.in_rate is not None and measurement.out_rate is not None:
            parts.append(f"In {words.rate(measurement.in_rate)}, out {words.rate(measurement.out_rate)}.")
        if measurement.growing:
            parts.append("Falling behind.")
        elif measurement.drain_seconds:
            parts.append(f"Drained in about {words.duration(measurement.drain_seconds)}.")
    if measurement.note:
        parts.append(measurement.note[:1].upper() + measurement.note[1:].rstrip(".") + ".")
    parts.append(f"Rule: {sentence(rule)}.")
    return " ".join(parts)
