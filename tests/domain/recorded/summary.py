"""Recorded spans → their hops in a form that is the same in every recording."""

from pathlib import Path

from collectors.otlp import parse
from eventflow.domain.hop import Side
from eventflow.domain.hops import hops
from eventflow.domain.observations import Span

HERE = Path(__file__).resolve().parent


def spans(library: str) -> list[Span]:
    """What was recorded of a library."""
    return list(parse.from_json((HERE / f"{library}.json").read_bytes()).spans)


def summary(recorded: list[Span]) -> list[dict[str, object]]:
    """Each hop in order of time; `of`: which of the publishes before it handed it its context."""
    found: list[dict[str, object]] = []
    published = []
    for hop in hops(recorded):
        one: dict[str, object] = {
            "side": hop.side.value,
            "service": hop.service,
            "system": hop.system,
            "destination": hop.destination,
        }
        if hop.side is Side.PUBLISH:
            published.append(hop)
        else:
            one["group"] = hop.group
            one["of"] = [at for at, sent in enumerate(published) if set(sent.contexts) & set(hop.contexts)]
        if hop.failed:
            one["failed"] = True
        found.append(one)
    return found
