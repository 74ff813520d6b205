"""What brokers tell: destinations, consumer groups as they are now, and the history of their lag."""

from django.db import models


class Destination(models.Model):
    source = models.CharField(max_length=100)
    system = models.CharField(max_length=40)
    name = models.CharField(max_length=300)
    kind = models.CharField(max_length=20)
    container = models.CharField(max_length=300, blank=True)
    messages = models.BigIntegerField(null=True)
    size_bytes = models.BigIntegerField(null=True)
    published_total = models.BigIntegerField(null=True)
    partitions = models.IntegerField(null=True)
    dead_letters_of = models.JSONField(default=list)
    dead_letter_certainty = models.CharField(max_length=20, blank=True)
    letters_lost = models.CharField(max_length=300, blank=True)
    """Why dead letters can't arrive or stay; this and the next three as in `observations.DestinationSample`."""
    kept_seconds = models.FloatField(null=True)
    kept_messages = models.BigIntegerField(null=True)
    oldest_at = models.DateTimeField(null=True)
    filled_at = models.DateTimeField(null=True)
    """Since when it has not been empty, as far as we saw."""
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "name"], name="one_row_per_destination")]

    def __str__(self) -> str:
        return self.name


class ConsumerGroup(models.Model):
    """A consumer group on one destination, as last seen; partitions summed. `status` is the lag engine's word."""

    source = models.CharField(max_length=100)
    system = models.CharField(max_length=40)
    destination = models.CharField(max_length=300)
    name = models.CharField(max_length=300)
    container = models.CharField(max_length=300, blank=True)
    subscriptions = models.JSONField(default=list)
    service = models.CharField(max_length=200, blank=True)
    """The service whose spans name this group; empty until one does."""
    ready = models.BigIntegerField(null=True)
    in_flight = models.BigIntegerField(null=True)
    redelivered = models.BigIntegerField(null=True)
    members = models.IntegerField(null=True)
    paused = models.BooleanField(default=False)
    oldest_at = models.DateTimeField(null=True)
    unknown_reason = models.CharField(max_length=300, blank=True)
    method = models.CharField(max_length=20, blank=True)
    error_seconds = models.FloatField(null=True)
    in_rate = models.FloatField(null=True)
    out_rate = models.FloatField(null=True)
    status = models.CharField(max_length=20, default="unknown")
    status_reason = models.CharField(max_length=300, blank=True)
    status_since = models.DateTimeField(null=True)
    trend = models.SmallIntegerField(default=0)
    """1 growing, 0 steady, -1 draining."""
    drain_seconds = models.FloatField(null=True)
    progress_at = models.DateTimeField(null=True)
    """When it last settled or was delivered a message."""
    kept_share = models.FloatField(null=True)
    """What waits, in percent of what is kept; None where nothing is dropped."""
    lost = models.BigIntegerField(null=True)
    """Dropped before it got them, as far as its position tells."""
    skew = models.FloatField(null=True)
    """The worst partition's share of the lag in percent, 0 when it does not stand out (`domain.lag_skew`)."""
    pause_seconds = models.FloatField(default=0)
    """How much longer than usual its source is left alone; see Source."""
    assignment = models.JSONField(null=True)
    """Who reads what here: {"members": [{"id", "client", "host", "partitions", …}] or null, "told", "note", "at"}; null
    where the broker does not tell anything of them."""
    assigned_at = models.DateTimeField(null=True)
    """Since when the same members have read the same; `at` is when what they hold was counted."""
    seen_at = models.DateTimeField()
    first_seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "destination", "name"], name="one_row_per_group_and_destination")
        ]

    def __str__(self) -> str:
        return f"{self.name} on {self.destination}"


class LagPoint(models.Model):
    """One sample of a group's lag, until it is packed. `resolution_seconds` 0 is as sampled, 60 a minute's worst."""

    group = models.ForeignKey(ConsumerGroup, on_delete=models.CASCADE, related_name="points")
    at = models.DateTimeField()
    resolution_seconds = models.PositiveSmallIntegerField(default=0)
    ready = models.BigIntegerField(null=True)
    low = models.BigIntegerField(null=True)
    """The fewest that waited within a minute; null for a sample, where it is `ready`."""
    in_flight = models.BigIntegerField(null=True)
    age_seconds = models.FloatField(null=True)
    published_total = models.BigIntegerField(null=True)
    delivered_total = models.BigIntegerField(null=True)
    settled_total = models.BigIntegerField(null=True)
    status = models.PositiveSmallIntegerField(null=True)
    """The engine's word then, as `domain.lag.RANK` counts it."""
    kept_share = models.FloatField(null=True)
    skew = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["group", "resolution_seconds", "at"], name="one_point_per_instant")
        ]


class LagPack(models.Model):
    """An hour of samples (15 s apart) or a day of minutes of one group, as `store.lag_pack` packs them."""

    group = models.ForeignKey(ConsumerGroup, on_delete=models.CASCADE, related_name="packs")
    seconds = models.PositiveSmallIntegerField()
    """15 or 60: how far what is in it lies apart."""
    at = models.BigIntegerField()
    """Where the hour or day begins, in seconds since 1970."""
    body = models.BinaryField()
    hours = models.BinaryField()
    """The worst of each hour of a day, as `store.lag_hours` has it: what can be asked of very many groups at once."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "seconds", "at"], name="one_pack_per_group_and_time")]
        indexes = [models.Index(fields=["seconds", "at"], name="packs_by_age")]


class PartitionMinute(models.Model):
    """One minute of a group's partitions: {"0": [most that waited, what waited at its end]}; null is not known."""

    group = models.ForeignKey(ConsumerGroup, on_delete=models.CASCADE, related_name="partition_minutes")
    at = models.DateTimeField()
    partitions = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "at"], name="one_row_per_group_and_minute")]


class Rebalance(models.Model):
    """A change of a group's members or of who reads what, as it was seen."""

    group = models.ForeignKey(ConsumerGroup, on_delete=models.CASCADE, related_name="rebalances")
    at = models.DateTimeField()
    joined = models.JSONField(default=list)
    left = models.JSONField(default=list)
    members = models.IntegerField()
    moved = models.IntegerField()
    """How many partitions are read by somebody else now."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "at"], name="one_rebalance_per_group_and_instant")]
