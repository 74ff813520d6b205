"""OTLP metrics of consumer lag → lag and destination samples with the method ``reported``; whatever else is left out.

A Collector that scrapes Kafka or RabbitMQ so shows their lag here without any credentials of ours. Pure; of several
points of one series the newest counts. A negative lag is how some exporters say "unknown", so it is no number.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from collectors.conventions.messaging import text
from collectors.otlp import metric_names as names
from collectors.receiving.errors import BadRequestError
from eventflow.domain.observations import DestinationSample, LagSample, Observation

METHOD = "reported"
UNCOMMITTED = "the exporter tells no lag: nothing is committed yet"
Labels = dict[str, str]
Reading = tuple[int, int]
"""When, in nanoseconds, and the value."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """One request, understood: what is used as `samples`, and how many points were not."""

    samples: tuple[Observation, ...]
    not_used: int
    counted_only: int
    """Of those not used, how many are OpenTelemetry's own messaging metrics."""


def from_protobuf(body: bytes, source: str, now: datetime) -> Metrics:
    """Read an ExportMetricsServiceRequest."""
    try:
        request = ExportMetricsServiceRequest.FromString(body)
    except DecodeError as error:
        raise BadRequestError("the body is no export request for metrics in protobuf") from error
    return _read(request, source, now)


def from_json(body: bytes, source: str, now: datetime) -> Metrics:
    """Read the same in OTLP/JSON. Exemplars, whose ids are no protobuf JSON, are not looked at."""
    try:
        document = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise BadRequestError("the body is no JSON") from error
    if not isinstance(document, dict):
        raise BadRequestError("the body must be a JSON object")
    _drop(document, "exemplars")
    request = ExportMetricsServiceRequest()
    try:
        json_format.ParseDict(document, request, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError) as error:
        raise BadRequestError("the body is no export request for metrics in JSON") from error
    return _read(request, source, now)


def _drop(document: dict[str, Any], name: str) -> None:
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            value.pop(name, None)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _read(request: ExportMetricsServiceRequest, source: str, now: datetime) -> Metrics:
    found = _Found(source, now)
    not_used = counted_only = 0
    for group in request.resource_metrics:
        resource = _labels(group.resource.attributes)
        for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
            kind = metric.WhichOneof("data")
            if kind is None:
                continue
            points = getattr(metric, kind).data_points
            used = 0
            if kind in ("gauge", "sum"):
                used = sum(found.take(metric.name, resource | _labels(point.attributes), point) for point in points)
            not_used += len(points) - used
            counted_only += len(points) if metric.name.startswith(names.COUNTED_ONLY) else 0
    return Metrics(tuple(found.samples()), not_used, counted_only)


def _labels(attributes: Sequence[KeyValue]) -> Labels:
    found: Labels = {}
    for pair in attributes:
        which = pair.value.WhichOneof("value")
        if which in ("string_value", "int_value") and (value := text(getattr(pair.value, which))):
            found[pair.key] = value
    return found


def _first(labels: Labels, keys: Sequence[str]) -> str | None:
    return next((labels[key] for key in keys if key in labels), None)


@dataclass(slots=True)
class _Found:
    """Collects readings by what they are about, then joins them."""

    source: str
    now: datetime
    partitions: dict[tuple[str, str, str, str], dict[str, Reading]] = field(default_factory=lambda: defaultdict(dict))
    sums: dict[tuple[str, str, str], dict[str, Reading]] = field(default_factory=lambda: defaultdict(dict))
    members: dict[tuple[str, str], dict[str, Reading]] = field(default_factory=lambda: defaultdict(dict))
    topics: dict[tuple[str, str, str], dict[str, Reading]] = field(default_factory=lambda: defaultdict(dict))
    queues: dict[tuple[str, str], dict[str, Reading]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, name: str, labels: Labels, point: Any) -> bool:
        """Keep one point if it is about lag."""
        place, what = self._place(name, labels)
        if place is None:
            return False
        which = point.WhichOneof("value")
        value = getattr(point, which) if which else None
        if value is None or not abs(value) < 2**63:  # no infinity, no NaN
            return False
        reading = (point.time_unix_nano, int(value))
        if what not in place or place[what][0] <= reading[0]:
            place[what] = reading
        return True

    def _place(self, name: str, labels: Labels) -> tuple[dict[str, Reading] | None, str]:
        cluster = _first(labels, names.CLUSTER)
        source = (f"{self.source} {cluster}" if cluster else self.source)[:100]
        group, topic, partition = (_first(labels, keys) for keys in (names.GROUP, names.TOPIC, names.PARTITION))
        if name in names.KAFKA_BY_PARTITION and group and topic and partition:
            return self.partitions[source, topic, group, partition], names.KAFKA_BY_PARTITION[name]
        if name in names.KAFKA_SUM and group and topic:
            return self.sums[source, topic, group], "lag"
        if name in names.KAFKA_MEMBERS and group:
            return self.members[source, group], "members"
        if name in names.KAFKA_TOPIC and topic and partition:
            return self.topics[source, topic, partition], names.KAFKA_TOPIC[name]
        queue = _first(labels, names.QUEUE)
        if name in names.RABBIT and queue:
            return self.queues[source, queue], names.RABBIT[name]
        if name == names.RABBIT_CURRENT and queue and labels.get("state") in names.RABBIT_STATES:
            return self.queues[source, queue], names.RABBIT_STATES[labels["state"]]
        return None, ""

    def samples(self) -> Iterator[Observation]:
        told = {key[:3] for key, readings in self.partitions.items() if "lag" in readings}
        for (source, topic, group, partition), readings in self.partitions.items():
            if "lag" in readings:
                end = self.topics.get((source, topic, partition), {}).get("end")
                yield self._kafka(source, topic, group, readings, partition=partition, end=end)
        for (source, topic, group), readings in self.sums.items():
            if (source, topic, group) not in told:
                yield self._kafka(source, topic, group, readings)
        yield from self._topics()
        for (source, queue), readings in self.queues.items():
            yield from self._queue(source, queue, readings)

    def _kafka(
        self,
        source: str,
        topic: str,
        group: str,
        readings: dict[str, Reading],
        *,
        partition: str | None = None,
        end: Reading | None = None,
    ) -> LagSample:
        behind = readings["lag"][1]
        return LagSample(
            source=source,
            system="kafka",
            destination=topic,
            group=group,
            partition=partition,
            at=self._at(readings),
            ready=behind if behind >= 0 else None,
            unknown_reason=None if behind >= 0 else UNCOMMITTED,
            method=METHOD,
            members=_value(self.members.get((source, group), {}), "members"),
            published_total=end[1] if end else None,
            settled_total=_value(readings, "settled"),
        )

    def _topics(self) -> Iterator[DestinationSample]:
        by_topic: dict[tuple[str, str], list[dict[str, Reading]]] = defaultdict(list)
        for (source, topic, _), readings in self.topics.items():
            by_topic[source, topic].append(readings)
        for (source, topic), partitions in by_topic.items():
            whole = all({"start", "end"} <= readings.keys() for readings in partitions)
            ended = all("end" in readings for readings in partitions)
            yield DestinationSample(
                source=source,
                system="kafka",
                destination=topic,
                kind="topic",
                at=max(map(self._at, partitions)),
                messages=sum(max(0, one["end"][1] - one["start"][1]) for one in partitions) if whole else None,
                published_total=sum(one["end"][1] for one in partitions) if ended else None,
                partitions=len(partitions),
            )

    def _queue(self, source: str, queue: str, readings: dict[str, Reading]) -> Iterator[Observation]:
        """A queue is its own consumer group, as everywhere here."""
        at = self._at(readings)
        ready, in_flight = _value(readings, "ready"), _value(readings, "in_flight")
        published = _value(readings, "published")
        if ready is not None:
            yield LagSample(
                source=source,
                system="rabbitmq",
                destination=queue,
                group=queue,
                at=at,
                ready=ready,
                in_flight=in_flight,
                method=METHOD,
                members=_value(readings, "members"),
                published_total=published,
                delivered_total=_value(readings, "delivered"),
                settled_total=_value(readings, "settled"),
            )
        whole = None if ready is None or in_flight is None else ready + in_flight
        yield DestinationSample(source, "rabbitmq", queue, "queue", at, messages=whole, published_total=published)

    def _at(self, readings: dict[str, Reading]) -> datetime:
        """When it was measured; a clock that runs ahead of ours is not believed."""
        newest = max(at for at, _ in readings.values())
        if not 0 < newest < self.now.timestamp() * 1e9:
            return self.now
        return datetime.fromtimestamp(newest / 1e9, UTC)


def _value(readings: dict[str, Reading], name: str) -> int | None:
    """A reading that counts something; below zero it is none."""
    found = readings.get(name)
    return found[1] if found is not None and found[1] >= 0 else None
