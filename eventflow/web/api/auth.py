"""Who calls: a bearer token, or a browser's session (with CSRF for writes). The same roles as the pages."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer, SessionAuth

from eventflow.accounts import roles, tokens
from eventflow.web.api.problems import Problem


class Bearer(HttpBearer):
    """`Authorization: Bearer ef_…`"""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        return tokens.authenticate(token, timezone.now())


class Session(SessionAuth):
    """The browser's session cookie."""

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        user = request.user
        return user if user.is_authenticated and user.is_active else None


AUTH = [Bearer(), Session()]


def caller(request: HttpRequest) -> Any:
    """Who authenticated: a Django user or a token's stand-in."""
    return request.auth  # type: ignore[attr-defined]  # set by ninja


def need(request: HttpRequest, role: str) -> Any:
    """The caller, who holds `role`; ends the operation with 403 otherwise."""
    who = caller(request)
    if not roles.may(who, role):
        raise Problem(403, f"This needs the role {role}; you have {roles.role_of(who)}.", needed=role)
    return who
