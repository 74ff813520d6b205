"""The runtime every service shares: read, handle, acknowledge; retry with backoff, then dead-letter.

Promises at-least-once handling that is idempotent by event id, and that a stop finishes what has begun.
Never acknowledges what was neither handled nor put into the dead-letter queue.
"""

import asyncio
import logging
import signal
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import Span, StatusCode

from demo.shop import dead_letter, events, telemetry
from demo.shop.broker import Broker, BrokerError, Delivery
from demo.shop.contract import GROUPS, Group
from demo.shop.events import Event, UndecodableError
from demo.shop.faults import Faults

log = logging.getLogger(__name__)

BACKOFF_SECONDS = (1, 2, 4)  # after the first, second and third attempt; the fourth is the last
REMEMBERED_EVENTS = 20_000
PULL_SECONDS = 5.0


class Context:
    """What a handler may use: publish an event, ask about a fault."""

    def __init__(self, service: str, broker: Broker, faults: Faults) -> None:
        self.service = service
        self.faults = faults
        self._broker = broker

    async def publish(self, event: Event, *, message_id: str = "", encoding: str = "utf-8") -> None:
        headers = events.headers_of(event, datetime.now(UTC))
        if message_id:
            headers[events.MESSAGE_ID] = message_id
        await self.send(event.type, event.body().decode().encode(encoding), headers)

    async def reply(self, cause: Event, event_type: str, data: dict[str, Any]) -> None:
        """Publish what follows from `cause`, under its correlation id."""
        await self.publish(events.caused_by(cause, event_type, self.service, data))

    async def send(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        with telemetry.sending(self._broker.system, subject, headers, body):
            await self._broker.publish(subject, body, headers)


Handler = Callable[[Event, Context], Awaitable[None]]
Decoder = Callable[[bytes, Faults], dict[str, Any]]
Job = Callable[[Context], Awaitable[None]]


def _read_json(body: bytes, faults: Faults) -> dict[str, Any]:
    return events.read_json(body)


@dataclass(frozen=True)
class Subscription:
    group: Group
    handle: Handler
    decode: Decoder
    new_trace: bool
    workers: int
    stopped_by: str  # the fault that makes it stop reading, if any


class Service:
    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.subscriptions: list[Subscription] = []
        self.jobs: list[Job] = []

    def consumes(
        self,
        group: str,
        *,
        decode: Decoder = _read_json,
        new_trace: bool = False,
        workers: int = 4,
        stopped_by: str = "",
    ) -> Callable[[Handler], Handler]:
        """`new_trace`: link to the producer's trace instead of continuing it."""

        def register(handle: Handler) -> Handler:
            self.subscriptions.append(Subscription(GROUPS[group], handle, decode, new_trace, workers, stopped_by))
            return handle

        return register

    def runs(self, job: Job) -> Job:
        """Something the service does of its own accord, until stopped."""
        self.jobs.append(job)
        return job

    async def run(self, broker: Broker) -> None:
        """Until SIGTERM or SIGINT, or until every job has ended where there are no subscriptions."""
        stop = asyncio.Event()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
        faults = Faults()
        context = Context(self.name, broker, faults)
        watching = asyncio.create_task(_watched(faults, broker))
        work = [asyncio.create_task(Consumer(sub, context, broker).run(stop)) for sub in self.subscriptions]
        work += [asyncio.create_task(_until(stop, job(context))) for job in self.jobs]
        try:
            await asyncio.gather(*work)
        finally:
            watching.cancel()


async def _watched(faults: Faults, broker: Broker) -> None:
    while True:
        try:
            await faults.watch(broker)
        except BrokerError as error:
            log.warning("the fault switches cannot be read: %s", error)
        await asyncio.sleep(1)


async def _until(stop: asyncio.Event, job: Awaitable[None]) -> None:
    running, stopping = asyncio.ensure_future(job), asyncio.ensure_future(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, stopping):
        task.cancel()
    await asyncio.gather(running, stopping, return_exceptions=True)
    if not running.cancelled() and (error := running.exception()):
        raise error


class Consumer:
    """One group's loop: pulls a message at a time while fewer than `workers` are being handled."""

    def __init__(self, subscription: Subscription, context: Context, broker: Broker) -> None:
        self._sub = subscription
        self._context = context
        self._broker = broker
        self._taken: OrderedDict[str, None] = OrderedDict()

    async def run(self, stop: asyncio.Event) -> None:
        free = asyncio.Semaphore(self._sub.workers)
        async with asyncio.TaskGroup() as handling:
            while not stop.is_set():
                if self._context.faults.on(self._sub.stopped_by):
                    await asyncio.sleep(0.2)
                    continue
                await free.acquire()
                delivery = await self._next(stop)
                if delivery is None:
                    free.release()
                else:
                    handling.create_task(self._settle(delivery)).add_done_callback(lambda _: free.release())

    async def _next(self, stop: asyncio.Event) -> Delivery | None:
        pull = asyncio.ensure_future(self._broker.next(self._sub.group, PULL_SECONDS))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({pull, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not pull.done():
            pull.cancel()
            await asyncio.gather(pull, return_exceptions=True)
            return None
        try:
            return pull.result()
        except BrokerError as error:
            log.warning("%s cannot read: %s", self._sub.group.name, error)
            await asyncio.sleep(1)
            return None

    async def _settle(self, delivery: Delivery) -> None:
        """Ends in an ack, a nak or a dead letter; a broker that is away gives the message again by itself."""
        name = self._sub.group.name
        try:
            with telemetry.processing(self._broker.system, delivery, name, new_trace=self._sub.new_trace) as span:
                try:
                    await self._handle(delivery, span)
                except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt
                    span.record_exception(error)
                    span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
                    await self._failed(delivery, error, span)
                else:
                    await self._broker.ack(delivery)
        except BrokerError as error:
            log.warning("%s could not settle %s: %s", name, delivery.subject, error)

    async def _handle(self, delivery: Delivery, span: Span) -> None:
        event = events.read(delivery.subject, delivery.headers, self._sub.decode(delivery.body, self._context.faults))
        if event.id in self._taken:
            span.add_event("skipped: this event was handled before")
            return
        if event.id:
            self._taken[event.id] = None
            if len(self._taken) > REMEMBERED_EVENTS:
                self._taken.popitem(last=False)
        try:
            await self._sub.handle(event, self._context)
        except BaseException:
            self._taken.pop(event.id, None)
            raise

    async def _failed(self, delivery: Delivery, error: Exception, span: Span) -> None:
        if delivery.attempt <= len(BACKOFF_SECONDS) and not isinstance(error, UndecodableError):
            pause = BACKOFF_SECONDS[delivery.attempt - 1]
            span.add_event("retry", {"delay_seconds": pause, "attempt": delivery.attempt})
            await self._broker.nak(delivery, pause)
            return
        group = self._sub.group.name
        log.warning("%s gives up %s #%d: %s", group, delivery.stream, delivery.sequence, type(error).__name__)
        headers = dead_letter.headers_of(delivery, group, error, datetime.now(UTC))
        await self._context.send(self._broker.dead_letters_of(delivery, group), delivery.body, headers)
        await self._broker.term(delivery)
