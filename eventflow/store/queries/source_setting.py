"""Reads of the brokers that people described, and of tries to connect. Only `wanted`, the worker's, opens passwords."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from eventflow.domain.source_setting import Setting
from eventflow.store import sealed
from eventflow.store.models import ConnectionTest, Source, SourceSetting


@dataclass(frozen=True, slots=True)
class Wanted:
    """A described broker as the worker needs it. `setting` is None when its password can't be opened any more."""

    name: str
    system: str
    setting: Setting | None
    paused: bool
    removed: bool


@dataclass(frozen=True, slots=True)
class SettingView:
    """A described broker without its password."""

    name: str
    scheme: str
    address: str
    user: str
    options: str
    has_password: bool
    paused: bool
    removed: bool
    by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class TestView:
    """A try to connect, as far as it is."""

    pk: uuid.UUID
    name: str
    state: str
    created_at: datetime
    finished_at: datetime | None
    result: Mapping[str, Any] = field(default_factory=dict)


def wanted() -> list[Wanted]:
    """Every described broker with its password. One query."""
    found = []
    for row in SourceSetting.objects.order_by("pk"):
        setting: Setting | None
        try:
            password = sealed.unseal(row.sealed_password)
            setting = Setting(row.name, row.scheme, row.address, row.user, password, row.options)
        except sealed.SealedError:
            setting = None
        found.append(Wanted(row.name, row.scheme, setting, row.paused, row.removed))
    return found


def settings_by_name() -> dict[str, SettingView]:
    """Every described broker. One query."""
    return {row.name: _view(row) for row in SourceSetting.objects.all()}


def setting(name: str) -> SettingView | None:
    """One that is not removed."""
    row = SourceSetting.objects.filter(name=name, removed=False).first()
    return _view(row) if row else None


def name_is_taken(name: str) -> bool:
    """Whether a source of this name is known, from the settings or from the environment."""
    taken = SourceSetting.objects.filter(name__iexact=name).exists()
    return taken or Source.objects.filter(name__iexact=name).exists()


def connection_test(pk: uuid.UUID) -> TestView | None:
    row = ConnectionTest.objects.filter(pk=pk).first()
    if row is None:
        return None
    return TestView(row.pk, row.name, row.state, row.created_at, row.finished_at, row.result)


def _view(row: SourceSetting) -> SettingView:
    return SettingView(
        name=row.name,
        scheme=row.scheme,
        address=row.address,
        user=row.user,
        options=row.options,
        has_password=bool(row.sealed_password),
        paused=row.paused,
        removed=row.removed,
        by=row.created_by_name,
        changed_at=row.changed_at,
    )
