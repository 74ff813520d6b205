"""Rows for tests, made readable: name what matters, the rest is filled in. Everybody appends their own nouns."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from django.contrib.auth.models import Group, User

from eventflow.domain import observations
from eventflow.store.models import AlertRule, ConsumerGroup, DeadLetter, Edge, Incident, Replay
from eventflow.store.record.dead_letter import record as record_letters
from eventflow.store.record.replay import create as create_replay

NOW = datetime(2026, 11, 19, 14, 32, 10, tzinfo=UTC)
_numbers = count(1)


def user(role: str = "viewer", name: str | None = None) -> User:
    """A person with one role."""
    made = User.objects.create_user(name or f"{role}-{next(_numbers)}")  # no password: hashing one is slow on purpose
    made.groups.add(Group.objects.get_or_create(name=role)[0])
    return made


STACK = """Traceback (most recent call last):
  File "/srv/venv/lib/python3.11/site-packages/nats/js/client.py", line 212, in poll
    await callback(message)
  File "/srv/app/payments/handlers.py", line 37, in on_order_placed
    split_tender(order)
  File "/srv/app/payments/giftcards.py", line 88, in balance
    raise GiftCardBalanceError("balance lookup for card gc-5512 returned HTTP 502")
payments.errors.GiftCardBalanceError: balance lookup for card gc-5512 returned HTTP 502
"""


def observed_letter(**given: Any) -> observations.DeadLetter:
    """A dead letter as a collector reports it: an order whose gift card could not be read."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "source": "shop",
        "system": "nats",
        "location": "dlq.payment",
        "position": str(number),
        "captured_at": NOW - timedelta(minutes=5),
        "failed_at": NOW - timedelta(minutes=6, seconds=-number % 60),
        "destination": "orders.placed",
        "group": "payment",
        "service": "payment-service",
        "message_id": f"evt-{number}",
        "correlation_id": f"01JD3W8Q5Z7N4K2M9R6T0X{number:04d}",
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "event_type": "orders.placed",
        "headers": (
            ("ce-id", f"evt-{number}"),
            ("correlation-id", f"01JD3W8Q5Z7N4K2M9R6T0X{number:04d}"),
            ("traceparent", f"00-{number:032x}-{number:016x}-01"),
            ("Nats-Msg-Id", f"evt-{number}"),
            ("x-original-subject", "orders.placed"),
            ("x-exception-type", "payments.errors.GiftCardBalanceError"),
            ("x-attempts", "4"),
        ),
        "payload": b'{"order_id": "SO-%d", "total": {"amount": "112.50"}, "card_token": "tok_9fQxW2"}' % number,
        "content_type": "application/json",
        "error_type": "payments.errors.GiftCardBalanceError",
        "error_message": f"balance lookup for card gc-{number} returned HTTP 502",
        "stack": STACK,
        "attempts": 4,
        "evidence": {"error_type": "header x-exception-type", "destination": "header x-original-subject"},
    }
    return observations.DeadLetter(**{**values, **given})


def letter(**given: Any) -> DeadLetter:
    """The same, recorded."""
    status = given.pop("status", None)
    observed = observed_letter(**given)
    record_letters([observed], NOW)
    row = DeadLetter.objects.get(source=observed.source, location=observed.location, position=observed.position)
    if status:
        row.status = status
        row.save(update_fields=["status"])
    return row


def consumer_group(
    name: str, destination: str = "orders.placed", age: float | None = None, **given: Any
) -> ConsumerGroup:
    """A consumer group as the broker last told of it, its oldest message `age` seconds old."""
    values: dict[str, Any] = {"source": "shop", "system": "nats", "seen_at": NOW, "ready": 0, "in_flight": 0}
    if age is not None:
        values["oldest_at"] = given.get("seen_at", NOW) - timedelta(seconds=age)
    return ConsumerGroup.objects.create(name=name, destination=destination, **{**values, **given})


def replay_of(*letters: DeadLetter, reason: str = "gift card provider recovered", rate: float = 100) -> Replay:
    """A replay of these letters, queued."""
    made, _ = create_replay(
        [each.pk for each in letters], user=None, name="ops-lead", reason=reason, rate_per_second=rate, now=NOW
    )
    assert made is not None
    return made


def after(seconds: float) -> datetime:
    """NOW and some seconds."""
    return NOW + timedelta(seconds=seconds)


def lag_sample(
    group: str = "email", at: datetime = NOW, ready: int | None = 0, age: float | None = None, **given: Any
) -> observations.LagSample:
    """A look at one group, its oldest message `age` seconds old."""
    values: dict[str, Any] = {"source": "shop", "system": "nats", "destination": "emails.requested"}
    if age is not None:
        values["oldest_at"] = at - timedelta(seconds=age)
    return observations.LagSample(group=group, at=at, ready=ready, **{**values, **given})


def alert_rule(**given: Any) -> AlertRule:
    """A lag rule: older than 15 s for 5 s, over when younger than 12 s for 10 s."""
    values: dict[str, Any] = {"name": "Late", "kind": "lag", "seconds": 15, "for_seconds": 5, "recover_seconds": 10}
    return AlertRule.objects.create(**{**values, **given})


def incident(rule: AlertRule, **given: Any) -> Incident:
    """One that fires since a minute."""
    values: dict[str, Any] = {
        "subject": "shop/emails.requested/email",
        "title": "email is 27 s behind",
        "severity": rule.severity,
        "state": "firing",
        "pending_since": NOW - timedelta(seconds=65),
        "fired_at": NOW - timedelta(seconds=60),
        "updated_at": NOW,
        "value": 27.0,
        "peak": 27.0,
        "unit": "s",
    }
    return Incident.objects.create(rule=rule, **{**values, **given})


def edge(number: int, kind: str, service: str, destination: str, at: datetime = NOW) -> Edge:
    """That `service` publishes or consumes there, as its spans told at `at`; its group has its name."""
    ns, group = int(at.timestamp() * 1e9), service if kind == "consume" else ""
    values = {"kind": kind, "service": service, "system": "nats", "destination": destination, "group": group}
    return Edge.objects.update_or_create(digest=f"{number:032x}", defaults={**values, "first_ns": ns, "last_ns": ns})[0]
