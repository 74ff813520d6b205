"""Small makers of rows and observations for tests; each names only what the test is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from eventflow.domain.observations import LagSample
from eventflow.store.models import AlertRule, ConsumerGroup

NOON = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)


def user(role: str = "viewer", name: str | None = None) -> Any:
    """A person with a role."""
    person, _ = get_user_model().objects.get_or_create(username=name or role)
    person.groups.set([Group.objects.get_or_create(name=role)[0]])
    return person


def after(seconds: float) -> datetime:
    """NOON and some seconds."""
    return NOON + timedelta(seconds=seconds)


def lag_sample(
    group: str = "email", at: datetime = NOON, ready: int | None = 0, age: float | None = None, **more: Any
) -> LagSample:
    """A sample of one group, with its oldest message `age` seconds old."""
    more = {"source": "shop", "system": "nats", "destination": "emails.requested"} | more
    if age is not None:
        more["oldest_at"] = at - timedelta(seconds=age)
    return LagSample(group=group, at=at, ready=ready, **more)


def consumer_group(
    name: str = "email", *, now: datetime = NOON, age: float | None = None, ready: int | None = 0, **more: Any
) -> Any:
    """A consumer group's row as last seen at `now`."""
    more = {"source": "shop", "system": "nats", "destination": "emails.requested", "status": "ok"} | more
    oldest = now - timedelta(seconds=age) if age is not None else None
    return ConsumerGroup.objects.create(name=name, ready=ready, oldest_at=oldest, seen_at=now, **more)


def alert_rule(**more: Any) -> Any:
    """A lag rule: older than 15 s for 5 s."""
    more = {"name": "Late", "kind": "lag", "seconds": 15, "for_seconds": 5, "recover_seconds": 10} | more
    return AlertRule.objects.create(**more)
