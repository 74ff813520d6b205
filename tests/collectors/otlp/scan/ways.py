"""The ways to scan that tests go through, and a span of a message for all of them."""

from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collectors.otlp.scan import OtlpFormat
from tests.collectors.otlp.samples import attribute
from tests.collectors.otlp.scan import agreement
from tests.collectors.otlp.scan.agreement import WAYS
from tests.required import missing

every = pytest.mark.parametrize("way", WAYS)
MESSAGE = [
    attribute("messaging.system", "kafka"),
    attribute("messaging.destination.name", "orders"),
    attribute("messaging.operation.type", "process"),
    attribute("messaging.message.id", "m-1"),
    attribute("messaging.message.conversation_id", "order-1"),
]


def made(way: str, keys: tuple[str, ...] = (), searched: tuple[str, ...] = ()) -> OtlpFormat:
    try:
        return agreement.made(way, keys, searched)
    except ImportError as error:
        missing("native-scanner", f"build it with `python -P collectors/otlp/scan/build.py` ({error})")


def with_attribute(key: str, **value: Any) -> list[KeyValue]:
    kept = [pair for pair in MESSAGE if pair.key != key]
    return [*kept, KeyValue(key=key, value=AnyValue(**value))]
