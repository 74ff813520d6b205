"""The span engine's tables. Only `store/spans` writes them; what each is for is drawn at the head of that package.

Instants are integer nanoseconds since the epoch (`…_ns`), as in spans. Text is cut to its column before it comes here.
"""

from django.db import models


class Inbox(models.Model):
    """An export request as it was acknowledged, until its spans are digested."""

    encoding = models.CharField(max_length=4)
    """``gzip`` as its sender packed it, or ``zstd``."""
    received_at = models.DateTimeField()
    body = models.BinaryField()
    """The last column, as a chunk's: who asks which requests there are need not read through them."""


class Rejected(models.Model):
    """A body that could not be digested, kept with the reason so that nothing acknowledged vanishes silently."""

    body = models.BinaryField()
    encoding = models.CharField(max_length=4)
    reason = models.TextField()
    received_at = models.DateTimeField()
    rejected_at = models.DateTimeField()


class Generation(models.Model):
    """A row per thing that is written in steps, counted up by each: a step prepared on an older state starts again.

    1 the lines of flows, 2 chunks and sums, 3 the newest chunk whose flows have their lines,
    4 and on, for each level of chunks, up to which one none has to be packed anew
    """

    number = models.BigIntegerField(default=0)


class Chunk(models.Model):
    """Some hundred spans, of few flows, as one OTLP export request compressed with zstd."""

    spans = models.IntegerField()
    first_ns = models.BigIntegerField()
    last_ns = models.BigIntegerField()
    """The earliest start and the latest end."""
    level = models.SmallIntegerField(default=0)
    """How often it was packed anew with its neighbours."""
    body = models.BinaryField()
    """The last column: SQLite reads through a long one to get at those behind it."""

    class Meta:
        indexes = [
            models.Index(fields=["last_ns"], name="chunks_by_end"),
            models.Index(fields=["level", "id"], name="chunks_by_level"),
        ]


class IndexRun(models.Model):
    """A sorted run of the index: entries (hash of an id, chunk), once each. A level's runs are merged into the next."""

    level = models.SmallIntegerField()
    entries = models.BigIntegerField()
    first_chunk = models.BigIntegerField()
    last_chunk = models.BigIntegerField()
    """The oldest and the newest chunk that entries name: without any chunk between them, the run is of no use."""
    token = models.BigIntegerField()
    """At random, so that what a process keeps of a run in memory is never taken for another's."""
    ready = models.BooleanField(default=True)
    """False while it is being written by a merge; nobody reads it then."""


class IndexPage(models.Model):
    """A part of a run: every entry of the hashes from `first` up to the next page's."""

    run = models.ForeignKey(IndexRun, on_delete=models.CASCADE, related_name="pages", db_index=False)
    first = models.BigIntegerField()
    body = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "first"], name="one_page_per_run_and_hash")]


class IndexFilter(models.Model):
    """A Bloom filter of a run's hashes from `first` up to the next filter's. Runs that are soon merged have none."""

    run = models.ForeignKey(IndexRun, on_delete=models.CASCADE, related_name="filters")
    first = models.BigIntegerField()
    body = models.BinaryField()


class FlowPattern(models.Model):
    """What the lines of many flows say alike: all of `domain.flow_summary.FlowSummary` but its key and times."""

    digest = models.CharField(max_length=32, unique=True)
    """A hash of all the others."""
    kind = models.CharField(max_length=20)
    status = models.CharField(max_length=20)
    place = models.CharField(max_length=300)
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


class FlowRow(models.Model):
    """A flow's line in the list, made again whenever something of it changes."""

    key = models.CharField(max_length=300, unique=True)
    pattern = models.ForeignKey(FlowPattern, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    """Checked by who deletes patterns: an index for that would be a tenth of all."""
    status = models.SmallIntegerField()
    """The pattern's, as its place in `domain.flow_summary.FlowStatus`; this and the next are here for the indexes."""
    plumbing = models.BooleanField()
    started_ns = models.BigIntegerField()
    duration_ns = models.BigIntegerField()
    judged_at = models.BigIntegerField()
    """Seconds since the epoch."""

    class Meta:
        indexes = [
            models.Index(fields=["plumbing", "started_ns"], name="flows_by_start"),
            models.Index(fields=["status", "plumbing", "started_ns"], name="flows_by_status_and_start"),
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
    """The sums of all edges over the `seconds` that begin at `at` (epoch seconds). Every event is in one slot only."""

    seconds = models.IntegerField()
    at = models.BigIntegerField()
    token = models.BigIntegerField(unique=True)
    """At random with each write, so that what a process keeps of a slot in memory is never taken for another state."""
    body = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["at", "seconds"], name="one_slot_per_time")]
        indexes = [models.Index(fields=["at", "seconds", "token"], name="slots_without_bodies")]
