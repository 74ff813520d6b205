"""Realistic OTLP load: orders that pass through five services and three Kafka topics.

A request holds 512 spans of one service, as SDKs export them, so that each order's eight spans lie in eight requests:
the worst case for a store.

`Load().body(i)` is the i-th request of an endless stream without repetitions: ids, times and texts of a few made rounds
are patched in place, some ten times faster than making them.
"""

import gzip
import random
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from collectors.otlp.scan.fields_py import fields

SERVICES = ("web-gateway", "order-service", "inventory-service", "payment-service", "shipping-service")
TOPICS = ("orders.created", "stock.reserved", "payment.captured")
SPANS = 512
"""In each request; as many orders a round."""
REQUESTS = 8
"""A round."""
BEGIN = 1_780_000_000_000_000_000
STEP_NS = 120_000
"""From order to order."""
STACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/app/src/handlers/{module}.py", line {line}, in {name}\n    result = await self.{name}(event, context)\n'
    for module, line, name in (("base", 88, "dispatch"), ("orders", 142, "process_event"), ("retry", 51, "call"))
)
Value = str | int | float


def pair(key: str, value: Value) -> KeyValue:
    """An attribute."""
    if isinstance(value, str):
        return KeyValue(key=key, value=AnyValue(string_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    return KeyValue(key=key, value=AnyValue(double_value=value))


class _Maker:
    """Makes rounds. Ids begin with two bytes, and texts with four digits, that `Load` fills in."""

    def __init__(self) -> None:
        self.chance = random.Random(7)

    def round(self, number: int) -> list[bytes]:
        groups: list[ResourceSpans | None] = [None] * REQUESTS
        for order in range(SPANS):
            for slot, (service, span) in enumerate(self.order(BEGIN + (number * SPANS + order) * STEP_NS)):
                group = groups[slot]
                if group is None:
                    group = groups[slot] = self.group(service)
                group.scope_spans[0].spans.append(span)
        return [ExportTraceServiceRequest(resource_spans=[group]).SerializeToString() for group in groups if group]

    def group(self, service: str) -> ResourceSpans:
        pod = f"{service}-6d9f7c5b8d-{self.chance.randrange(1 << 20):05x}"
        told: dict[str, Value] = {
            "service.name": service,
            "service.version": "2.14.3",
            "service.namespace": "shop",
            "service.instance.id": pod,
            "deployment.environment.name": "production",
            "host.name": f"ip-10-0-{self.chance.randrange(7)}-{self.chance.randrange(250)}",
            "k8s.pod.name": pod,
            "k8s.namespace.name": "shop",
            "telemetry.sdk.language": "java",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": "1.45.0",
            "process.pid": self.chance.randrange(32768),
        }
        made = ResourceSpans()
        made.resource.attributes.extend(pair(*one) for one in told.items())
        made.scope_spans.add().scope.name = "io.opentelemetry.kafka-clients-2.6"
        made.scope_spans[0].scope.version = "2.10.0-alpha"
        return made

    def order(self, at: int) -> Iterator[tuple[str, Span]]:
        """The eight spans of one order, with their services."""
        chance = self.chance
        trace, gateway, server = self.id(16), self.id(8), self.id(8)
        business: dict[str, Value] = {
            "correlation.id": f"ord-0000{chance.getrandbits(48):012x}",
            "app.customer.id": f"cus-{chance.randrange(10**8):08d}",
            "app.region": chance.choice(("eu-west-1", "us-east-1", "ap-south-1")),
        }
        agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"
        web: dict[str, Value] = {
            "http.request.method": "POST",
            "url.path": "/api/v2/orders",
            "url.scheme": "https",
            "http.route": "/api/v2/orders",
            "http.response.status_code": 202,
            "server.address": "shop.example.com",
            "client.address": f"203.0.{chance.randrange(256)}.{chance.randrange(256)}",
            "user_agent.original": agent,
            "network.protocol.version": "1.1",
        }
        yield SERVICES[0], self.span((trace, gateway, b""), "POST /api/v2/orders", 2, (at, self.ms(38)), business | web)
        call: dict[str, Value] = {
            "rpc.system": "grpc",
            "rpc.service": "shop.OrderService",
            "rpc.method": "CreateOrder",
            "rpc.grpc.status_code": 0,
            "app.order.items": chance.randrange(1, 9),
            "app.order.amount": round(chance.lognormvariate(4, 0.7), 2),
            "server.address": "order-service",
            "server.port": 8443,
            "thread.name": f"grpc-default-executor-{chance.randrange(16)}",
        }
        times = at + 2_000_000, self.ms(25)
        yield SERVICES[1], self.span((trace, server, gateway), "OrderService/CreateOrder", 2, times, business | call)
        parent, at = server, at + 9_000_000
        for number, topic in enumerate(TOPICS):
            sent, handled = self.id(8), self.id(8)
            sender, consumer = SERVICES[1 + number], SERVICES[2 + number]
            message: dict[str, Value] = {
                "messaging.system": "kafka",
                "messaging.destination.name": topic,
                "messaging.destination.partition.id": str(chance.randrange(12)),
                "messaging.kafka.message.offset": chance.randrange(10**8),
                "messaging.message.id": f"msg-0000{chance.getrandbits(48):012x}",
                "messaging.message.body.size": chance.randrange(300, 2400),
                "app.event.type": topic.title().replace(".", ""),
            }
            publish: dict[str, Value] = {
                "messaging.operation.type": "send",
                "messaging.client.id": f"{sender}-producer-1",
            }
            told = business | message | publish
            yield sender, self.span((trace, sent, parent), f"{topic} publish", 4, (at, self.ms(3)), told)
            process: dict[str, Value] = {
                "messaging.operation.type": "process",
                "messaging.consumer.group.name": f"{consumer}-group",
                "messaging.client.id": f"{consumer}-consumer-{chance.randrange(4)}",
            }
            lag, link = self.ms(15), (trace, sent)
            # The second hop is a batch consumer's: a trace of its own, with a link.
            trace, above = (self.id(16), b"") if number == 1 else (trace, sent)
            told = business | message | process
            span = self.span((trace, handled, above), f"{topic} process", 5, (at + lag, self.ms(22)), told)
            span.links.add(trace_id=link[0], span_id=link[1], flags=0x101)
            yield consumer, span
            parent, at = handled, at + lag + 12_000_000

    def span(
        self, ids: tuple[bytes, bytes, bytes], name: str, kind: int, times: tuple[int, int], told: dict[str, Value]
    ) -> Span:
        start, lasts = times
        made = Span(
            trace_id=ids[0],
            span_id=ids[1],
            parent_span_id=ids[2],
            name=name,
            kind=kind,  # type: ignore[arg-type]  # an enum's number
            flags=0x101,
            start_time_unix_nano=start,
            end_time_unix_nano=start + lasts,
            attributes=[pair(*one) for one in told.items()],
        )
        if self.chance.random() < 0.03:
            reason = f"upstream did not answer in 2000 ms (order {self.chance.randrange(10**7)})"
            failed = {"exception.type": "TimeoutError", "exception.message": reason, "exception.stacktrace": STACK}
            event = made.events.add(name="exception", time_unix_nano=start + lasts - 1000)
            event.attributes.extend(pair(*one) for one in failed.items())
            made.status.code = 2  # type: ignore[assignment]  # an enum's number
            made.status.message = "upstream did not answer"
        return made

    def id(self, size: int) -> bytes:
        return b"\0\0" + self.chance.randbytes(size - 2)

    def ms(self, around: float) -> int:
        return int(self.chance.lognormvariate(0, 0.6) * around * 1e6)


class Load:
    """An endless stream of requests; `rounds` are made, the rest is patched."""

    def __init__(self, rounds: int = 8) -> None:
        maker = _Maker()
        self._made = [body for number in range(rounds) for body in maker.round(number)]
        self._places = [_places(body) for body in self._made]
        self._period_ns = rounds * SPANS * STEP_NS

    def body(self, index: int) -> bytes:
        """The `index`th request, uncompressed."""
        again, which = divmod(index, len(self._made))
        if not again:
            return self._made[which]
        ids, times, texts = self._places[which]
        made = np.frombuffer(self._made[which], dtype=np.uint8).copy()
        made[ids], made[ids + 1] = again >> 8 & 255, again & 255
        cells = times[:, None] + np.arange(8)
        later = np.ascontiguousarray(made[cells]).view("<u8").ravel() + np.uint64(again * self._period_ns)
        made[cells] = later.view(np.uint8).reshape(-1, 8)
        made[texts[:, None] + np.arange(4)] = np.frombuffer(b"%04x" % (again & 0xFFFF), dtype=np.uint8)
        return made.tobytes()

    def gzipped(self, index: int) -> bytes:
        """The same as senders compress it."""
        return gzip.compress(self.body(index), 6)


Places = tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", ...]


def _places(body: bytes) -> Places:
    """Where a request's ids, times and numbered texts lie."""
    found: dict[str, list[int]] = defaultdict(list)
    for span_at, span_to in _inside(body, 0, len(body), (0x0A, 0x12, 0x12)):
        for tag, at, to in fields(body, span_at, span_to):
            if tag in (0x0A, 0x12, 0x22):
                found["ids"].append(at)
            elif tag in (0x39, 0x41):
                found["times"].append(at)
            elif tag == 0x6A:
                found["ids"] += [start for inner, start, _ in fields(body, at, to) if inner in (0x0A, 0x12)]
            elif tag == 0x5A:
                found["times"] += [start for inner, start, _ in fields(body, at, to) if inner == 0x09]
    for mark in (b"ord-0000", b"msg-0000"):
        at = body.find(mark)
        while at >= 0:
            found["texts"].append(at + 4)
            at = body.find(mark, at + 1)
    return tuple(np.array(found[what], dtype=np.int64) for what in ("ids", "times", "texts"))


def _inside(body: bytes, at: int, to: int, path: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    for tag, start, end in fields(body, at, to):
        if tag == path[0]:
            if len(path) == 1:
                yield start, end
            else:
                yield from _inside(body, start, end, path[1:])
