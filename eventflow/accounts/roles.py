"""Three roles, each holding the ones before: a viewer looks, an operator replays and silences, an admin configures."""

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
RANK = {VIEWER: 1, OPERATOR: 2, ADMIN: 3}


def role_of(user: object) -> str | None:
    """The user's highest role: superusers are admins, anybody logged in is at least a viewer, others have none."""
    if not getattr(user, "is_authenticated", False) or not getattr(user, "is_active", False):
        return None
    fixed = getattr(user, "eventflow_role", None)
    if fixed in RANK:
        return str(fixed)
    if getattr(user, "is_superuser", False):
        return ADMIN
    names = set(user.groups.values_list("name", flat=True))  # type: ignore[attr-defined]  # a Django user here
    return max((name for name in names if name in RANK), key=RANK.__getitem__, default=VIEWER)


def may(user: object, role: str) -> bool:
    """Whether `user` holds `role` or a higher one."""
    held = role_of(user)
    return held is not None and RANK[held] >= RANK[role]
