"""Writes the audit trail: who did what, when, to what, why. Details never hold secrets."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from eventflow.accounts.models import AuditEntry


def record(
    actor: str,
    action: str,
    *,
    target: str = "",
    reason: str = "",
    details: Mapping[str, Any] | None = None,
    now: datetime,
) -> AuditEntry:
    """Add one entry; call it in the transaction of the change itself."""
    return AuditEntry.objects.create(
        at=now, actor=actor, action=action, target=target[:300], reason=reason[:500], details=dict(details or {})
    )


def recent(since: datetime, limit: int) -> list[AuditEntry]:
    """The newest entries, newest first."""
    return list(AuditEntry.objects.filter(at__gte=since).order_by("-at", "-pk")[:limit])
