"""Messages given up on, and the groups they form by cause. Statuses: open, replaying, replayed, resolved, archived."""

from django.db import models


class DeadLetterGroup(models.Model):
    """Letters with one fingerprint: cause type, first application frame, consumer, message without ids."""

    fingerprint = models.CharField(max_length=64, unique=True)
    title = models.CharField(max_length=300)
    error_type = models.CharField(max_length=300, blank=True)
    sample_message = models.TextField(blank=True)
    frame = models.CharField(max_length=300, blank=True)
    destination = models.CharField(max_length=300, blank=True)
    consumer_group = models.CharField(max_length=300, blank=True)
    service = models.CharField(max_length=200, blank=True)
    location = models.CharField(max_length=300, blank=True)
    note = models.TextField(blank=True)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.title


class DeadLetter(models.Model):
    """One letter. (source, location, position) is its identity, so the same letter offered twice is one row."""

    source = models.CharField(max_length=100)
    system = models.CharField(max_length=40)
    location = models.CharField(max_length=300)
    position = models.CharField(max_length=100)
    group = models.ForeignKey(DeadLetterGroup, on_delete=models.PROTECT, related_name="letters")
    status = models.CharField(max_length=20, default="open", db_index=True)
    status_reason = models.CharField(max_length=300, blank=True)
    destination = models.CharField(max_length=300, blank=True)
    consumer_group = models.CharField(max_length=300, blank=True)
    service = models.CharField(max_length=200, blank=True)
    message_id = models.CharField(max_length=300, blank=True, db_index=True)
    correlation_id = models.CharField(max_length=300, blank=True, db_index=True)
    trace_id = models.CharField(max_length=32, blank=True, db_index=True)
    span_id = models.CharField(max_length=16, blank=True)
    event_type = models.CharField(max_length=300, blank=True)
    key = models.CharField(max_length=300, blank=True)
    headers = models.JSONField(default=list)
    payload = models.BinaryField(null=True)
    payload_size = models.PositiveBigIntegerField(null=True)
    payload_note = models.CharField(max_length=300, blank=True)
    content_type = models.CharField(max_length=200, blank=True)
    error_type = models.CharField(max_length=300, blank=True)
    error_message = models.TextField(blank=True)
    stack = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(null=True)
    published_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(db_index=True)
    """From its headers, else when it was captured; never null so that lists can be ordered."""
    captured_at = models.DateTimeField()
    convention = models.CharField(max_length=100, blank=True)
    evidence = models.JSONField(default=dict)
    replay_token = models.CharField(max_length=64, blank=True, db_index=True)
    """Set when this letter is a replayed message that failed again: the token of that replay item."""
    replay_count = models.PositiveIntegerField(default=0)
    """How often its lineage was replayed before."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "location", "position"], name="one_row_per_letter")]
        indexes = [models.Index(fields=["status", "-failed_at"], name="letters_by_status_and_time")]

    def __str__(self) -> str:
        return f"{self.location} {self.position}"
