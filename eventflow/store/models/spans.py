"""The span engine's tables. Only `store/spans` writes them; what each is for is drawn at the head of that package.

Instants are integer nanoseconds since the epoch (`…_ns`), as in spans. Text is cut to its column before it comes here.
"""

from django.db import models


class Inbox(models.Model):
    """An export request as it was acknowledged, until its spans are digested."""

    body = models.BinaryField()
    received_at = models.DateTimeField()


class Rejected(models.Model):
    """A body that could not be digested, kept with the reason so that nothing acknowledged vanishes silently."""

    body = models.BinaryField()
    reason = models.TextField()
    received_at = models.DateTimeField()
    rejected_at = models.DateTimeField()


class Generation(models.Model):
    """One row, counted up by every writing step: a step prepared on an older state finds out and starts again."""

    number = models.BigIntegerField(default=0)


class StoredSpan(models.Model):
    """One span. `body` is the whole span (spans/codec.py); the columns are what reads select by."""

    trace_id = models.CharField(max_length=32)
    span_id = models.CharField(max_length=16)
    start_ns = models.BigIntegerField()
    end_ns = models.BigIntegerField()
    side = models.CharField(max_length=1)
    """``p`` published, ``c`` consumed, empty for a span that is no evidence for a hop."""
    correlation_id = models.CharField(max_length=300)
    """The span's own; empty when it has none."""
    body = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trace_id", "span_id"], name="one_row_per_span")]
        indexes = [models.Index(fields=["end_ns"], name="spans_by_end")]


class StoredLink(models.Model):
    """A link between traces, for the way back: who links to this span, to this trace."""

    trace_id = models.CharField(max_length=32)
    span_id = models.CharField(max_length=16)
    linked_trace_id = models.CharField(max_length=32)
    linked_span_id = models.CharField(max_length=16)

    class Meta:
        indexes = [
            models.Index(fields=["linked_trace_id", "linked_span_id"], name="links_by_target"),
            models.Index(fields=["trace_id"], name="links_by_source"),
        ]


class FlowMember(models.Model):
    """A trace's part in a flow. A trace with an id of its own belongs there only; others belong where their links lead.

    origin  ``direct`` (a span of it carries the key), ``inherited`` (over links) or ``trace`` (the trace id is the key)
    """

    trace_id = models.CharField(max_length=32)
    key = models.CharField(max_length=300)
    origin = models.CharField(max_length=10)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trace_id", "key"], name="one_row_per_trace_and_flow")]
        indexes = [models.Index(fields=["key"], name="members_by_flow")]


class MessageTrace(models.Model):
    """Which traces name a message id."""

    message_id = models.CharField(max_length=300)
    trace_id = models.CharField(max_length=32)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message_id", "trace_id"], name="one_row_per_message_and_trace")]
        indexes = [models.Index(fields=["trace_id"], name="messages_by_trace")]


class FlowRow(models.Model):
    """A flow's line in the list (`domain.flow_summary.FlowSummary`), made again whenever something of it changes."""

    key = models.CharField(max_length=300, unique=True)
    kind = models.CharField(max_length=20)
    status = models.CharField(max_length=20)
    place = models.CharField(max_length=300)
    started_ns = models.BigIntegerField()
    ended_ns = models.BigIntegerField()
    first_destination = models.CharField(max_length=300)
    first_service = models.CharField(max_length=300)
    services = models.TextField()
    """One a line, between line breaks, so that a whole name can be found with LIKE; a tab and the mark follow."""
    destinations = models.TextField()
    event_types = models.TextField()
    events = models.IntegerField()
    deliveries = models.IntegerField()
    failed = models.IntegerField()
    spans = models.IntegerField()
    traces = models.IntegerField()
    letters = models.IntegerField()
    plumbing = models.BooleanField()
    """True without a message hop, a correlation id or a letter: nothing a list of flows should begin with."""
    updated_ns = models.BigIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["plumbing", "-started_ns", "-id"], name="flows_by_start"),
            models.Index(fields=["status", "-started_ns", "-id"], name="flows_by_status_and_start"),
        ]


class Edge(models.Model):
    """Who talks to what (`domain.edge.EdgeKey`), ever."""

    digest = models.CharField(max_length=32, unique=True)
    """A hash of the five: together they may be too long for an index."""
    kind = models.CharField(max_length=12)
    service = models.CharField(max_length=300)
    system = models.CharField(max_length=40)
    destination = models.CharField(max_length=300)
    group = models.CharField(max_length=300)
    first_ns = models.BigIntegerField()
    last_ns = models.BigIntegerField()


class EdgeSlot(models.Model):
    """An edge's sums over the `seconds` that begin at `at` (epoch seconds). Every event is in one slot only."""

    edge = models.ForeignKey(Edge, on_delete=models.CASCADE, related_name="slots")
    seconds = models.IntegerField()
    at = models.BigIntegerField()
    count = models.BigIntegerField()
    errors = models.BigIntegerField()
    processing = models.BinaryField()
    wait = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["at", "seconds", "edge"], name="one_slot_per_edge_and_time")]
