"""The ledger of tries to connect: asked for by the web, run once by the worker. Its password goes when it is over."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from eventflow.domain.source_setting import Setting
from eventflow.store import sealed
from eventflow.store.models import ConnectionTest

KEEP = timedelta(hours=1)
FORGOTTEN = timedelta(minutes=2)
"""A worker that took a test and told nothing for so long is dead."""


def ask(setting: Setting, actor: str, now: datetime) -> uuid.UUID:
    """Write down what is to be tried; old tries go."""
    ConnectionTest.objects.filter(created_at__lt=now - KEEP).delete()
    return ConnectionTest.objects.create(
        name=setting.name,
        scheme=setting.scheme,
        address=setting.address,
        user=setting.user,
        sealed_password=sealed.seal(setting.password),
        options=setting.options,
        actor=actor,
        created_at=now,
    ).pk


def claim(now: datetime) -> tuple[uuid.UUID, Setting] | None:
    """The oldest one that nobody runs yet; it is the caller's now. What was forgotten ends as failed."""
    old = ConnectionTest.objects.exclude(state="done").filter(created_at__lt=now - FORGOTTEN)
    if old.exists():
        nobody = _not_tried("Nobody ran the test: is a worker with the role tasks running?")
        old.update(state="done", result=nobody, sealed_password="", finished_at=now)
    for row in ConnectionTest.objects.filter(state="waiting").order_by("created_at"):
        if not ConnectionTest.objects.filter(pk=row.pk, state="waiting").update(state="running"):
            continue
        try:
            password = sealed.unseal(row.sealed_password)
        except sealed.SealedError as error:
            finish(row.pk, _not_tried(f"The password can't be read: {error}."), now)
            continue
        return row.pk, Setting(row.name, row.scheme, row.address, row.user, password, row.options)
    return None


def _not_tried(why: str) -> dict[str, Any]:
    return {"severity": "crit", "headline": "Not tried", "findings": [{"severity": "crit", "text": why, "hint": ""}]}


def finish(pk: uuid.UUID, result: Mapping[str, Any], now: datetime) -> None:
    """What was found."""
    ConnectionTest.objects.filter(pk=pk).update(state="done", result=dict(result), sealed_password="", finished_at=now)
