"""Who may log in: the three roles as Django groups, and the administrator of a fresh installation."""

from datetime import datetime

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User

from eventflow.accounts import audit, roles

ADMINISTRATOR = "admin"


def ensure_roles() -> None:
    """Create the role groups that are missing."""
    for name in roles.RANK:
        Group.objects.get_or_create(name=name)


def administrator(now: datetime) -> User:
    """The first active admin; a fresh installation gets one without a password: login links are its way in."""
    users = get_user_model().objects
    found = users.filter(is_active=True, is_superuser=True).order_by("pk").first()
    if found:
        return found
    made = users.create_user(ADMINISTRATOR, is_superuser=True, is_staff=True)
    audit.record("eventflow", "user.create", target=ADMINISTRATOR, reason="first start", now=now)
    return made


def set_role(username: str, role: str, now: datetime, *, password: str | None = None) -> tuple[User, bool]:
    """Give `username` exactly `role`, creating the account when it is new. Returns it and whether it was created."""
    user, created = get_user_model().objects.get_or_create(username=username)
    user.groups.remove(*Group.objects.filter(name__in=roles.RANK))
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    user.is_superuser = role == roles.ADMIN
    if password is not None:
        user.set_password(password)
    elif created:
        user.set_unusable_password()
    user.save()
    audit.record("command line", "user.role", target=username, details={"role": role}, now=now)
    return user, created
