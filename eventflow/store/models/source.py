"""One configured broker or endpoint and how its collector fares. Holds no credentials."""

from django.db import models


class Source(models.Model):
    name = models.CharField(max_length=100, unique=True)
    system = models.CharField(max_length=40)
    address = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=20, default="connecting")
    message = models.TextField(blank=True)
    rights = models.JSONField(default=dict)
    calls = models.PositiveIntegerField(default=0)
    received_bytes = models.PositiveBigIntegerField(default=0)
    cycle_seconds = models.FloatField(default=0)
    cursors = models.JSONField(default=dict)
    """How far its dead letters were read and stored: where a restarted collector goes on."""
    counters = models.JSONField(default=dict)
    """What a receiver counted since its start: words → how often."""
    seen_at = models.DateTimeField(null=True)
    """When it last said anything."""
    ok_at = models.DateTimeField(null=True)
    """When it last saw the broker: "blind since" is told from here."""

    def __str__(self) -> str:
        return self.name
