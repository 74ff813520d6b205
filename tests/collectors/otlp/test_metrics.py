"""Lag out of the Collector's Kafka and RabbitMQ metrics, as their receivers document them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from collectors.otlp import OtlpReceiver, metrics
from collectors.receiving.errors import BadRequestError
from eventflow.domain.observations import DestinationSample, LagSample
from tests.collectors.otlp.conftest import Sink
from tests.collectors.otlp.samples import attribute

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
AT = NOW - timedelta(seconds=20)


def metric(name: str, value: float, *, kind: str = "gauge", at: datetime = AT, **labels: str) -> dict[str, Any]:
    point = {
        "timeUnixNano": str(int(at.timestamp()) * 1_000_000_000),
        ("asInt" if isinstance(value, int) else "asDouble"): value,
        "attributes": [{"key": key.replace("__", "."), "value": {"stringValue": text}} for key, text in labels.items()],
        "exemplars": [{"traceId": "0af7651916cd43dd8448eb211c80319c"}],
    }
    return {"name": name, kind: {"dataPoints": [point]}}


def read(*sent: dict[str, Any], **resource: str) -> metrics.Metrics:
    attributes = [{"key": key.replace("__", "."), "value": {"stringValue": text}} for key, text in resource.items()]
    group = {"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": list(sent)}]}
    return metrics.from_json(orjson.dumps({"resourceMetrics": [group]}), "otlp", NOW)


def lags(found: metrics.Metrics) -> list[LagSample]:
    return [sample for sample in found.samples if isinstance(sample, LagSample)]


def kafka(name: str, value: float, partition: str | None = "0", **more: Any) -> dict[str, Any]:
    labels = {"group": "billing", "topic": "orders"} | ({"partition": partition} if partition else {})
    return metric(name, value, **labels, **more)


def test_a_partitions_lag_comes_with_its_counters_and_the_groups_members() -> None:
    found = read(
        kafka("kafka.consumer_group.lag", 7),
        kafka("kafka.consumer_group.offset", 93),
        metric("kafka.partition.current_offset", 100, topic="orders", partition="0"),
        metric("kafka.partition.oldest_offset", 40, topic="orders", partition="0"),
        metric("kafka.consumer_group.members", 2, kind="sum", group="billing"),
    )
    [lag] = lags(found)
    assert (lag.source, lag.system, lag.destination, lag.group, lag.partition) == (
        "otlp",
        "kafka",
        "orders",
        "billing",
        "0",
    )
    assert (lag.ready, lag.settled_total, lag.published_total, lag.members) == (7, 93, 100, 2)
    assert (lag.method, lag.at) == ("reported", AT)
    [topic] = [sample for sample in found.samples if isinstance(sample, DestinationSample)]
    assert (topic.destination, topic.kind, topic.messages, topic.partitions) == ("orders", "topic", 60, 1)
    assert found.not_used == 0


def test_the_sum_counts_only_where_no_partition_was_told() -> None:
    [alone] = lags(read(kafka("kafka.consumer_group.lag_sum", 9, None)))
    assert (alone.ready, alone.partition) == (9, None)
    [told] = lags(read(kafka("kafka.consumer_group.lag_sum", 9, None), kafka("kafka.consumer_group.lag", 9)))
    assert told.partition == "0"


def test_a_negative_lag_is_unknown_and_never_a_number() -> None:
    [lag] = lags(read(kafka("kafka.consumer_group.lag", -1)))
    assert lag.ready is None
    assert lag.unknown_reason


def test_kafka_exporters_names_are_read_too() -> None:
    sent = metric("kafka_consumergroup_lag", 5.0, consumergroup="billing", topic="orders", partition="3")
    [lag] = lags(read(sent))
    assert (lag.group, lag.ready, lag.partition) == ("billing", 5, "3")


def test_a_queue_is_its_own_group() -> None:
    found = read(
        metric("rabbitmq.message.current", 11, kind="sum", state="ready"),
        metric("rabbitmq.message.current", 3, kind="sum", state="unacknowledged"),
        metric("rabbitmq.consumer.count", 4, kind="sum"),
        metric("rabbitmq.message.acknowledged", 80, kind="sum"),
        rabbitmq__queue__name="billing.orders",
        rabbitmq__node__name="rabbit@one",
    )
    [lag] = lags(found)
    assert (lag.system, lag.destination, lag.group) == ("rabbitmq", "billing.orders", "billing.orders")
    assert (lag.ready, lag.in_flight, lag.members, lag.settled_total) == (11, 3, 4, 80)
    [queue] = [sample for sample in found.samples if isinstance(sample, DestinationSample)]
    assert (queue.kind, queue.messages) == ("queue", 14)


def test_clusters_are_told_apart() -> None:
    [lag] = lags(read(kafka("kafka.consumer_group.lag", 1), kafka__cluster__alias="prod"))
    assert lag.source == "otlp prod"


def test_of_several_points_of_one_series_the_newest_counts() -> None:
    [lag] = lags(
        read(kafka("kafka.consumer_group.lag", 5), kafka("kafka.consumer_group.lag", 9, at=AT - timedelta(seconds=60)))
    )
    assert lag.ready == 5


def test_a_clock_ahead_of_ours_is_not_believed() -> None:
    [lag] = lags(read(kafka("kafka.consumer_group.lag", 5, at=NOW + timedelta(days=1))))
    assert lag.at == NOW


def test_other_metrics_are_counted_and_opentelemetrys_messaging_ones_apart() -> None:
    found = read(
        metric("system.cpu.time", 1.5),
        metric("messaging.client.sent.messages", 3, kind="sum"),
        metric("kafka.consumer_group.lag", 5, topic="orders"),
        kafka("kafka.consumer_group.lag", float("1e300")),
    )
    assert (found.samples, found.not_used, found.counted_only) == ((), 4, 1)


@pytest.mark.parametrize(
    "body", [b"[]", b"{]", b'{"resourceMetrics": 5}', b'{"resourceMetrics":[{"scopeMetrics":"x"}]}']
)
def test_what_is_no_export_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        metrics.from_json(body, "otlp", NOW)


def request() -> bytes:
    made = ExportMetricsServiceRequest()
    scope = made.resource_metrics.add().scope_metrics.add()
    lag = scope.metrics.add(name="kafka.consumer_group.lag").gauge.data_points.add(as_int=7)
    lag.attributes.extend([attribute("group", "billing"), attribute("topic", "orders"), attribute("partition", "0")])
    scope.metrics.add(name="system.cpu.time").sum.data_points.add(as_double=1)
    return made.SerializeToString()


async def test_a_request_is_acknowledged_once_its_lag_is_stored(receiver: OtlpReceiver, sink: Sink) -> None:
    headers = {"content-type": "application/x-protobuf"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{receiver.http_port}") as client:
        response = await client.post("/v1/metrics", content=request(), headers=headers)
        partial = ExportMetricsServiceResponse.FromString(response.content).partial_success
        assert (response.status_code, partial.rejected_data_points) == (200, 1)
        [lag] = [seen for seen in sink.seen if isinstance(seen, LagSample)]
        assert (lag.group, lag.ready) == ("billing", 7)
        sink.blind = True
        assert (await client.post("/v1/metrics", content=request(), headers=headers)).status_code == 503
