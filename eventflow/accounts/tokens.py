"""Bearer tokens for the API: printed once when made, kept as hashes only."""

import hashlib
import secrets
from datetime import datetime, timedelta

from eventflow.accounts.models import ApiToken

PREFIX = "ef_"
USED_RESOLUTION = timedelta(minutes=1)


class TokenUser:
    """What the API sees of a token: a name and a role."""

    is_authenticated = True
    is_active = True
    is_superuser = False

    def __init__(self, token: ApiToken) -> None:
        self.eventflow_role = token.role
        self._name = f"token {token.name}"

    def get_username(self) -> str:
        return self._name


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def create(name: str, role: str, now: datetime) -> str:
    """Make a token and return its secret: the only time it can be read."""
    secret = PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(name=name, digest=_digest(secret), role=role, created_at=now)
    return secret


def revoke(name: str, now: datetime) -> bool:
    """End a token; False when there is none of that name in use."""
    return bool(ApiToken.objects.filter(name=name, revoked_at=None).update(revoked_at=now))


def authenticate(secret: str, now: datetime) -> TokenUser | None:
    """Who holds `secret`, if anybody."""
    token = ApiToken.objects.filter(digest=_digest(secret), revoked_at=None).first()
    if token is None:
        return None
    if token.last_used_at is None or now - token.last_used_at > USED_RESOLUTION:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return TokenUser(token)
