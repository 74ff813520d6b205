"""Links that log one person in once: for the first login, for the demo, for who forgot a password. Kept as hashes."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.urls import reverse

from eventflow.accounts.models import LoginLink

LIFETIME = timedelta(hours=12)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def create(user: User, now: datetime) -> str:
    """A fresh link's path; earlier unused links of the user end with it."""
    token = secrets.token_urlsafe(24)
    LoginLink.objects.filter(user=user, used_at=None).delete()
    LoginLink.objects.create(digest=_digest(token), user=user, created_at=now, expires_at=now + LIFETIME)
    return reverse("accounts:link", args=[token])


def redeem(token: str, now: datetime) -> User | None:
    """The user of an unused link in its time, once; None otherwise."""
    links = LoginLink.objects.filter(digest=_digest(token), used_at=None, expires_at__gt=now, user__is_active=True)
    link = links.select_related("user").first()
    # Claimed by the filtered update: of two who come at once, one gets in.
    if link is None or not links.filter(pk=link.pk).update(used_at=now):
        return None
    return link.user
