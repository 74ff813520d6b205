"""Login links, API tokens (both stored as hashes only) and the audit trail. Roles are Django groups, see roles.py."""

from django.conf import settings
from django.db import models


class LoginLink(models.Model):
    """A link that logs one user in once, within its time."""

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)


class ApiToken(models.Model):
    """A bearer token; only its SHA-256 is kept. `role` bounds what it may do."""

    name = models.CharField(max_length=100, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    role = models.CharField(max_length=20)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class AuditEntry(models.Model):
    """Who did what, when, to what, why. Only ever added to."""

    at = models.DateTimeField(db_index=True)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=300, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    details = models.JSONField(default=dict)
