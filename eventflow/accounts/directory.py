"""Reads of who there is: accounts with roles, tokens by name, the audit trail. Never a hash, never a secret."""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth import get_user_model
from django.db.models import QuerySet

from eventflow.accounts import roles
from eventflow.accounts.models import ApiToken, AuditEntry


@dataclass(frozen=True, slots=True)
class Person:
    """An account."""

    name: str
    role: str | None
    last_login: datetime | None
    active: bool


def people() -> list[Person]:
    """Every account by name, in two queries."""
    found = []
    for user in get_user_model().objects.order_by("username").prefetch_related("groups"):
        held = {group.name for group in user.groups.all()} & roles.RANK.keys()
        role = roles.ADMIN if user.is_superuser else max(held, key=roles.RANK.__getitem__, default=roles.VIEWER)
        found.append(Person(user.get_username(), role if user.is_active else None, user.last_login, user.is_active))
    return found


def tokens() -> QuerySet[ApiToken]:
    """Every token by name, without its hash."""
    return ApiToken.objects.defer("digest").order_by("revoked_at", "name")


def audit_trail() -> QuerySet[AuditEntry]:
    """All entries, newest first."""
    return AuditEntry.objects.order_by("-at", "-pk")
