"""A shop that places two orders and a till that handles them, once for each instrumented library; run by `record`.

    python senders.py LIBRARY shop|till ADDRESS

Runs in an environment of its own, knows nothing of Eventflow, and prints its spans as OTLP protobuf in base64.
"""

# ruff: noqa: PLC0415  # each library is there only where it is recorded
import asyncio
import base64
import sys
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

ORDERS = (b"order-1", b"order-2")
TOPIC = "orders"
tracer = trace.get_tracer("shop")


def order(text: bytes) -> "trace.Span":
    return tracer.start_as_current_span(
        "POST /orders", kind=trace.SpanKind.SERVER, attributes={"order.text": text.decode()}
    )


def charge() -> None:
    with tracer.start_as_current_span("charge"):
        pass


def kafka_python(role: str, address: str) -> None:
    from kafka import KafkaConsumer, KafkaProducer
    from opentelemetry.instrumentation.kafka import KafkaInstrumentor

    KafkaInstrumentor().instrument()
    if role == "shop":
        producer = KafkaProducer(bootstrap_servers=address)
        for text in ORDERS:
            with order(text):
                producer.send(TOPIC, text).get(10)
        producer.close()
        return
    consumer = KafkaConsumer(TOPIC, bootstrap_servers=address, group_id="till", auto_offset_reset="earliest")
    for _ in ORDERS:
        next(consumer)
        charge()
    consumer.close()


def confluent_kafka(role: str, address: str) -> None:
    from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor

    ConfluentKafkaInstrumentor().instrument()
    import confluent_kafka as library

    if role == "shop":
        producer = library.Producer({"bootstrap.servers": address})
        for text in ORDERS:
            with order(text):
                producer.produce(TOPIC, text)
                producer.flush()
        return
    consumer = library.Consumer({"bootstrap.servers": address, "group.id": "till", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    handled = 0
    while handled < len(ORDERS):
        message = consumer.poll(1.0)
        if message is not None and not message.error():
            handled += 1
            charge()
    consumer.close()


def aiokafka(role: str, address: str) -> None:
    _aiokafka(role, address, many=False)


def aiokafka_batch(role: str, address: str) -> None:
    _aiokafka(role, address, many=True)


def _aiokafka(role: str, address: str, *, many: bool) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor

    AIOKafkaInstrumentor().instrument()

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=address) as producer:
            for text in ORDERS:
                with order(text):
                    await producer.send_and_wait(TOPIC, text)

    async def receive() -> None:
        consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=address, group_id="till", auto_offset_reset="earliest")
        async with consumer:
            handled = 0
            while handled < len(ORDERS):
                if many:
                    for records in (await consumer.getmany(timeout_ms=5000)).values():
                        handled += len(records)
                else:
                    await consumer.getone()
                    handled += 1
                charge()

    asyncio.run(send() if role == "shop" else receive())


def pika(role: str, address: str, exchange: str = "", key: str = TOPIC) -> None:
    import pika as library
    from opentelemetry.instrumentation.pika import PikaInstrumentor

    PikaInstrumentor().instrument()
    connection = library.BlockingConnection(library.URLParameters(address))
    channel = connection.channel()
    channel.queue_declare(TOPIC)
    if exchange:
        channel.exchange_declare(exchange, "topic")
        channel.queue_bind(TOPIC, exchange, key)
    if role == "shop":
        for text in ORDERS:
            properties = library.BasicProperties(message_id=f"m-{text.decode()}", correlation_id=text.decode())
            with order(text):
                channel.basic_publish(exchange, key, text, properties)
    else:
        handled = []

        def handle(channel, method, properties, body) -> None:  # the library's
            charge()
            handled.append(body)
            channel.basic_ack(method.delivery_tag)
            if len(handled) == len(ORDERS):
                channel.stop_consuming()

        channel.basic_consume(TOPIC, handle)
        channel.start_consuming()
    connection.close()


def aio_pika(role: str, address: str, exchange: str = "", key: str = TOPIC) -> None:
    import aio_pika as library
    from opentelemetry.instrumentation.aio_pika import AioPikaInstrumentor

    AioPikaInstrumentor().instrument()

    async def run() -> None:
        async with await library.connect(address) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(TOPIC)
            to = await channel.declare_exchange(exchange, "topic") if exchange else channel.default_exchange
            if exchange:
                await queue.bind(to, key)
            if role == "shop":
                for text in ORDERS:
                    with order(text):
                        message = library.Message(text, message_id=f"m-{text.decode()}", correlation_id=text.decode())
                        await to.publish(message, key)
                return
            done = asyncio.Event()
            handled = []

            async def handle(message: library.IncomingMessage) -> None:
                async with message.process():
                    charge()
                    handled.append(message.body)
                if len(handled) == len(ORDERS):
                    done.set()

            await queue.consume(handle)
            await asyncio.wait_for(done.wait(), 30)

    asyncio.run(run())


def celery(role: str, address: str) -> None:
    from celery import Celery
    from celery.contrib.testing.worker import start_worker
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    CeleryInstrumentor().instrument()
    app = Celery("till", broker=address)
    app.conf.task_default_queue = TOPIC
    handled = []

    @app.task(name="till.charge", bind=True, max_retries=1, default_retry_delay=0)
    def handle(self, text: str) -> None:  # Celery's task
        charge()
        if text == "order-2" and not self.request.retries:
            raise self.retry(exc=TimeoutError("the bank did not answer"), countdown=0)
        handled.append(text)

    if role == "shop":
        for text in ORDERS:
            with order(text):
                handle.apply_async((text.decode(),))
        return
    import time

    with start_worker(app, pool="solo", perform_ping_check=False):
        end = time.monotonic() + 30
        while len(handled) < len(ORDERS) and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.5)


LIBRARIES: dict[str, Callable[[str, str], None]] = {
    "kafka-python": kafka_python,
    "confluent-kafka": confluent_kafka,
    "aiokafka": aiokafka,
    "aiokafka-batch": aiokafka_batch,
    "pika": pika,
    "aio-pika": aio_pika,
    "pika-exchange": lambda role, address: pika(role, address, "shop", "orders.placed"),
    "aio-pika-exchange": lambda role, address: aio_pika(role, address, "shop", "orders.placed"),
    "celery": celery,
}


def main(library: str, role: str, address: str) -> None:
    provider = TracerProvider(resource=Resource({"service.name": role}))
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    LIBRARIES[library](role, address)
    print(base64.b64encode(encode_spans(exporter.get_finished_spans()).SerializeToString()).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
