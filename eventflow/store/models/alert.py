"""Alert rules, the incidents they open, who is told, and what is silenced."""

from django.db import models


class NotificationChannel(models.Model):
    """Where news of incidents goes: an Apprise URL (mailto://…) or a webhook. The URL is secret: never shown."""

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=20, default="webhook")
    """webhook or apprise."""
    url = models.TextField()
    enabled = models.BooleanField(default=True)
    last_error = models.CharField(max_length=300, blank=True)
    last_sent_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class AlertRule(models.Model):
    """One rule; `pattern` is a glob over groups, destinations or sources. Kinds: `domain.alert.Kind`.

    kind ``lag``: fires when the oldest waiting message is older than `seconds` or more than `messages` wait (whichever
    is set) for `for_seconds`; recovers below `recover_ratio` of it for `recover_seconds`. Kinds with a limit in
    percent have it in `share`, and in `messages` the number below which a share means nothing.
    """

    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, default="lag")
    pattern = models.CharField(max_length=300, default="*")
    severity = models.CharField(max_length=10, default="critical")
    """critical or warning."""
    seconds = models.FloatField(null=True, blank=True)
    messages = models.BigIntegerField(null=True, blank=True)
    share = models.FloatField(null=True, blank=True)
    for_seconds = models.FloatField(default=120)
    recover_ratio = models.FloatField(default=0.8)
    recover_seconds = models.FloatField(default=60)
    enabled = models.BooleanField(default=True)
    channels = models.ManyToManyField(NotificationChannel, blank=True)
    created_by_name = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Incident(models.Model):
    """One cause, from its first breach to its end. States: pending, firing, recovering, resolved.

    At most one that is not resolved per (rule, subject): restarts and second workers find it here.
    """

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="incidents")
    subject = models.CharField(max_length=640)
    """What it is about: ``source/destination/group``, a dead-letter group's fingerprint, or a source."""
    title = models.CharField(max_length=300)
    detail = models.TextField(blank=True)
    severity = models.CharField(max_length=10)
    state = models.CharField(max_length=12, default="pending", db_index=True)
    pending_since = models.DateTimeField()
    fired_at = models.DateTimeField(null=True)
    recovering_since = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    value = models.FloatField(null=True)
    unit = models.CharField(max_length=20, blank=True)
    peak = models.FloatField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    notified = models.JSONField(default=dict)
    """channel id → {"firing": iso instant, "resolved": iso instant}: what was told already."""
    follows_from = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="consequences")
    """The stop in its chain that holds it back (`domain.alert_chain`); it pages when it outlasts that."""
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "subject"], condition=~models.Q(state="resolved"), name="one_open_incident_per_cause"
            )
        ]

    def __str__(self) -> str:
        return self.title


class Silence(models.Model):
    """No notifications for matching subjects until `until`; incidents are still recorded and shown."""

    pattern = models.CharField(max_length=300)
    reason = models.CharField(max_length=300, blank=True)
    created_by_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.pattern
