"""The replay ledger: who asked for what, and what was observed of every single message since.

Item states: queued → sending → sent → consumed → confirmed | failed_again; refused, cancelled, and unknown for a send
whose outcome a crash hid (it is never resent by itself).
"""

import uuid

from django.conf import settings
from django.db import models

from eventflow.store.models.dead_letter import DeadLetter

OUTSTANDING = ("queued", "sending", "sent", "consumed")


class Replay(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_by_name = models.CharField(max_length=150)
    """Kept beside the key: the trail outlives the account."""
    reason = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=20, default="running")
    """running, paused, finished, cancelled (by a person), stopped (by itself: too many failed again)."""
    note = models.CharField(max_length=500, blank=True)
    """Why it was stopped or cancelled, and by whom."""
    rate_per_second = models.FloatField(default=10)
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"replay {self.id}"


class ReplayItem(models.Model):
    replay = models.ForeignKey(Replay, on_delete=models.CASCADE, related_name="items")
    letter = models.ForeignKey(DeadLetter, on_delete=models.PROTECT, related_name="replay_items")
    token = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=20, default="queued", db_index=True)
    destination = models.CharField(max_length=300)
    consumer_group = models.CharField(max_length=300, blank=True)
    position = models.CharField(max_length=100, blank=True)
    """Where the broker put the replayed message."""
    trace_id = models.CharField(max_length=32, blank=True, db_index=True)
    span_id = models.CharField(max_length=16, blank=True)
    """The replay's own span: what the consumer's span links to, and so how its arrival is seen."""
    queued_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    consumed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True)
    """Why it was refused, failed or is unknown; which evidence confirmed it."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["letter"],
                condition=models.Q(state__in=OUTSTANDING),
                name="one_outstanding_replay_per_letter",
            )
        ]
