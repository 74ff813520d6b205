"""A flow as JSON-ready data, for the page's raw view. Secrets are taken out as everywhere."""

from collections.abc import Iterable
from typing import Any

from eventflow.domain import redaction
from eventflow.domain.clock import instant
from eventflow.domain.flow import Delivery, Flow, Publication
from eventflow.domain.observations import Attributes, Span

MAX_SPANS = 500


def flow_json(flow: Flow, now_ns: int) -> dict[str, Any]:
    """The flow with its events and, up to MAX_SPANS, its spans."""
    spans = sorted(flow.spans.values(), key=lambda span: (span.start_ns, span.span_id))
    return {
        "key": flow.key,
        "kind": flow.kind,
        "status": flow.status.value,
        "place": flow.status_place,
        "started": _at(flow.started_ns),
        "duration_ms": _ms(flow.duration_ns(now_ns)),
        "traces": list(flow.trace_ids),
        "services": {mark.name: mark.state for mark in flow.services},
        "events": [_publication(publication, flow.started_ns) for publication in flow.publications()],
        "span_count": len(spans),
        "spans": [_span(span) for span in spans[:MAX_SPANS]],
    }


def _at(ns: int) -> str:
    return instant(ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ms(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1e6, 3)


def _publication(publication: Publication, zero: int) -> dict[str, Any]:
    return {
        "service": publication.service,
        "system": publication.system,
        "destination": publication.destination,
        "event_type": publication.event_type,
        "message_id": publication.message_id,
        "published_ms": _ms(publication.at_ns - zero),
        "waiting_for": list(publication.awaiting),
        "replay": publication.replay.id if publication.replay else None,
        "deliveries": list(_deliveries(publication, zero)),
    }


def _deliveries(publication: Publication, zero: int) -> Iterable[dict[str, Any]]:
    for delivery in publication.deliveries:
        yield {
            "service": delivery.service,
            "group": delivery.group,
            "status": delivery.status.value,
            "joined_by": delivery.joined_by.value,
            "waited_ms": _ms(delivery.wait_ns),
            "dead_letter": _dead(delivery),
            "attempts": [
                {
                    "trace_id": attempt.trace_id,
                    "span_id": attempt.span_id,
                    "started_ms": _ms(attempt.started_ns - zero),
                    "took_ms": _ms(attempt.ended_ns - attempt.started_ns),
                    "failed": attempt.failed,
                    "error": attempt.error.name if attempt.error else None,
                }
                for attempt in delivery.attempts
            ],
        }


def _dead(delivery: Delivery) -> dict[str, Any] | None:
    dead = delivery.dead_lettering
    if dead is None:
        return None
    return {"destination": dead.destination, "letter": dead.letter.id if dead.letter else None}


def _span(span: Span) -> dict[str, Any]:
    return {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "kind": span.kind.value,
        "service": span.service,
        "started": _at(span.start_ns),
        "took_ms": _ms(span.end_ns - span.start_ns),
        "status": span.status.value,
        "attributes": _attributes(span.attributes),
        "links": [{"trace_id": link.trace_id, "span_id": link.span_id} for link in span.links],
    }


def _attributes(attributes: Attributes) -> dict[str, Any]:
    shown = {name: f"{len(v)} bytes" if isinstance(v, bytes) else v for name, v in attributes.items()}
    cleaned = redaction.json_value(shown)
    return cleaned if isinstance(cleaned, dict) else {}
