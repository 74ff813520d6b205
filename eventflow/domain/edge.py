"""What is kept of every edge of the topology: counts, errors and two histograms per slot of time.

Edges are sums: adding the stats of two slots gives the stats of both, in any order. Percentiles come out of logarithmic
buckets, so they are right within 10 % and never computed from means. Nothing here knows where the numbers are stored.
"""

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

EdgeKind: TypeAlias = Literal["publish", "consume", "dead-letter"]

BUCKETS_PER_DOUBLING = 4
FIRST_NS = 1_000
"""Bucket 0 holds everything up to a microsecond."""
LENGTH = 1 + BUCKETS_PER_DOUBLING * 40
"""Forty doublings of a microsecond: 12 days; longer ones count as that."""
_PAIR = struct.Struct("<Bi")
"""Signed: a correction of what an older slot holds may stand in a slot of its own until both are added up."""


@dataclass(frozen=True, slots=True, order=True)
class EdgeKey:
    """Who talks to what. `group` is "" on the publishing side; `service` is "" when nobody said it."""

    kind: EdgeKind
    service: str
    system: str
    destination: str
    group: str = ""


class Histogram:
    """Durations in logarithmic buckets, four per doubling. Mutable: `add` and `merge` change it."""

    __slots__ = ("counts",)

    def __init__(self, counts: Iterable[int] | None = None) -> None:
        self.counts = [0] * LENGTH if counts is None else list(counts)
        if len(self.counts) != LENGTH:
            raise ValueError(f"a histogram has {LENGTH} buckets, not {len(self.counts)}")

    @classmethod
    def over(cls, counts: list[int]) -> "Histogram":
        """Of these very counts, which nobody else changes: copies are most of what reading many edges costs."""
        made = cls.__new__(cls)
        made.counts = counts
        return made

    @staticmethod
    def bucket(duration_ns: int) -> int:
        """The bucket of a duration; its upper bound is `bound_ns` of it."""
        if duration_ns <= FIRST_NS:
            return 0
        return min(LENGTH - 1, math.ceil(math.log2(duration_ns / FIRST_NS) * BUCKETS_PER_DOUBLING))

    @staticmethod
    def bound_ns(bucket: int) -> float:
        """The longest duration that falls into `bucket`."""
        return float(FIRST_NS * 2 ** (bucket / BUCKETS_PER_DOUBLING))

    def add(self, duration_ns: int, times: int = 1) -> None:
        """Count a duration; `times=-1` takes it out again."""
        self.counts[self.bucket(duration_ns)] += times

    def merge(self, other: "Histogram") -> None:
        """Add what `other` counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]

    @property
    def total(self) -> int:
        return sum(self.counts)

    def percentile(self, share: float) -> float | None:
        """Seconds below which `share` (0…1) of the durations lie; None when there are none."""
        total = self.total
        if total <= 0:
            return None
        wanted = max(1, math.ceil(share * total))
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                # The bucket's geometric middle: half a bucket from either end is the smallest possible error.
                return self.bound_ns(bucket) * 2 ** (-0.5 / BUCKETS_PER_DOUBLING) / 1e9
        return None

    @property
    def p50(self) -> float | None:
        return self.percentile(0.5)

    @property
    def p95(self) -> float | None:
        return self.percentile(0.95)

    def to_bytes(self) -> bytes:
        """The buckets that hold something, five bytes each."""
        return self.pack(enumerate(self.counts))

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Histogram":
        """What `to_bytes` gave. Raises ValueError for anything else."""
        found = cls()
        for bucket, count in cls.unpack(packed):
            if bucket >= LENGTH:
                raise ValueError(f"a packed histogram has no bucket {bucket}")
            found.counts[bucket] += count
        return found

    @staticmethod
    def pack(buckets: Iterable[tuple[int, int]]) -> bytes:
        """(bucket, count) pairs as bytes; empty buckets are left out."""
        return b"".join(_PAIR.pack(bucket, count) for bucket, count in buckets if count)

    @staticmethod
    def unpack(packed: bytes) -> Iterator[tuple[int, int]]:
        """The pairs of `pack`. Raises ValueError for bytes of another length."""
        if len(packed) % _PAIR.size:
            raise ValueError("a packed histogram has a broken length")
        return _PAIR.iter_unpack(packed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Histogram({self.total} durations)"


@dataclass(frozen=True, slots=True)
class EdgeStats:
    """One edge over a window.

    count       messages published, or deliveries (every attempt is one)
    errors      those whose span or settlement failed
    processing  how long the consumer (or the publish call) took
    wait        how long messages lay in the broker; counted only where the publisher's span is known
    """

    key: EdgeKey
    count: int
    errors: int
    processing: Histogram = field(default_factory=Histogram)
    wait: Histogram = field(default_factory=Histogram)
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EdgePoint:
    """An edge's counts in the step of time that begins at `at`."""

    at: datetime
    count: int
    errors: int
