"""What people change about brokers: added, edited, paused, removed. Passwords are sealed before they are stored.

A change is a change of the row; the collecting worker compares rows with what it runs and follows within seconds.
"""

from dataclasses import replace
from datetime import datetime

from django.db import transaction

from eventflow.domain.source_setting import Setting
from eventflow.store import sealed
from eventflow.store.models import Source, SourceSetting


def add(setting: Setting, by: str, now: datetime) -> bool:
    """A new broker; False when somebody else took its name meanwhile."""
    _, added = SourceSetting.objects.get_or_create(
        name=setting.name,
        defaults={
            "scheme": setting.scheme,
            "address": setting.address,
            "user": setting.user,
            "sealed_password": sealed.seal(setting.password),
            "options": setting.options,
            "created_by_name": by,
            "changed_at": now,
        },
    )
    return added


@transaction.atomic
def change(setting: Setting, now: datetime, *, keep_password: bool) -> list[str] | None:
    """Describe a broker anew under its name; the fields that changed (never their secrets), or None if it is gone."""
    row = SourceSetting.objects.select_for_update().filter(name=setting.name, removed=False).first()
    if row is None:
        return None
    changed = [
        name for name in ("scheme", "address", "user", "options") if getattr(row, name) != getattr(setting, name)
    ]
    row.scheme, row.address, row.user, row.options = setting.scheme, setting.address, setting.user, setting.options
    if not keep_password:
        row.sealed_password = sealed.seal(setting.password)
        changed.append("password")
    row.changed_at = now
    row.save()
    if "scheme" in changed or "address" in changed:
        # Another place perhaps: positions of the old one would skip letters there. Reading twice is harmless.
        Source.objects.filter(name=setting.name).update(cursors={})
    return changed


def pause(name: str, paused: bool, now: datetime) -> bool:
    """Stop or go on looking at it."""
    rows = SourceSetting.objects.filter(name=name, removed=False)
    return bool(rows.update(paused=paused, changed_at=now))


def remove(name: str, now: datetime) -> bool:
    """Look at it no more. Its password goes at once, the rest when the worker let go of it."""
    rows = SourceSetting.objects.filter(name=name, removed=False)
    return bool(rows.update(removed=True, sealed_password="", changed_at=now))


def gone(name: str) -> None:
    """The worker let go of a removed broker: nothing of it is left to tell."""
    SourceSetting.objects.filter(name=name, removed=True).delete()


def reseal() -> int:
    """Put every password under the newest secret key; returns how many no key opens."""
    lost = 0
    for row in SourceSetting.objects.exclude(sealed_password=""):
        fresh = sealed.reseal(row.sealed_password)
        if fresh is None:
            lost += 1
        else:
            SourceSetting.objects.filter(pk=row.pk, sealed_password=row.sealed_password).update(sealed_password=fresh)
    return lost


def with_stored_password(setting: Setting) -> Setting:
    """The description with the password that is kept under its name. Raises sealed.SealedError."""
    row = SourceSetting.objects.filter(name=setting.name, removed=False).first()
    return replace(setting, password=sealed.unseal(row.sealed_password) if row else "")
