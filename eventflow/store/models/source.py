"""Brokers and endpoints: how each one's collector fares, the ones that a person described, and tries to connect.

A password is here only as `store.sealed` writes it.
"""

import uuid

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
    pause_seconds = models.FloatField(default=0)
    """How much longer than usual it is left alone, because a look went over the budget."""
    costs = models.JSONField(default=list)
    """Its looks of the last hour: [minute since 1970, looks, calls, bytes, seconds], oldest first."""
    cursors = models.JSONField(default=dict)
    """How far its dead letters were read and stored: where a restarted collector goes on."""
    counters = models.JSONField(default=dict)
    """What a receiver counted since its start: words → how often."""
    seen_at = models.DateTimeField(null=True)
    """When it last said anything."""
    ok_at = models.DateTimeField(null=True)
    """When it last saw the broker: "blind since" is told from here."""
    first_seen_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class BlindSpell(models.Model):
    """A time for which a source was out of sight: what rules for blind sources are tried against."""

    source = models.CharField(max_length=100)
    system = models.CharField(max_length=40)
    message = models.TextField(blank=True)
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    """When it was last told to be so: when the worker stands still, nobody knows."""
    ended_at = models.DateTimeField(null=True)
    """When the broker was seen again, or the source paused, removed or left out."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "began_at"], name="one_spell_per_source_and_instant")]

    def __str__(self) -> str:
        return self.source


class Described(models.Model):
    """What `domain.source_setting.Setting` holds, its password sealed."""

    name = models.CharField(max_length=100)
    scheme = models.CharField(max_length=40)
    address = models.CharField(max_length=300)
    user = models.CharField(max_length=200, blank=True)
    sealed_password = models.TextField(blank=True)
    options = models.CharField(max_length=1000, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class SourceSetting(Described):
    """A broker that a person added in the settings; those of EVENTFLOW_SOURCES have no row here."""

    paused = models.BooleanField(default=False)
    removed = models.BooleanField(default=False)
    """The collecting worker has still to let go of it and to drop what it told; then the row goes."""
    created_by_name = models.CharField(max_length=150)
    changed_at = models.DateTimeField()

    class Meta(Described.Meta):
        abstract = False
        constraints = [models.UniqueConstraint(fields=["name"], name="one_setting_per_source")]


class ConnectionTest(Described):
    """Somebody wants to know whether a broker answers; the worker tries and writes down what it found."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    actor = models.CharField(max_length=150)
    state = models.CharField(max_length=10, default="waiting")
    """waiting, running, done."""
    result = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_index=True)
    finished_at = models.DateTimeField(null=True)
