"""Looks at one vhost of RabbitMQ: queues, what waits and what is out, who reads, where dead letters go or get lost.

Promises GET and nothing else: no message is fetched, not even to look at it, because basic.get counts deliveries and a
quorum queue's delivery limit would drop what was looked at too often. So letters are counted, not read, but for the
queues whose letters an operator gave to us with `?take=` (letters.py).

A queue is its own consumer group: the group of a sample bears the queue's name, whoever reads it.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from collectors.base import CollectorError, Emit, poll
from collectors.conventions import dead_letters
from collectors.cost import Cost
from collectors.rabbitmq import letters, parse
from collectors.rabbitmq.amqp import Amqp
from collectors.rabbitmq.client import Client, NotAllowedError
from collectors.rabbitmq.parse import Details, Numbers, Queue
from collectors.rabbitmq.readers import Readers
from collectors.rabbitmq.routes import Map, Route, settings
from eventflow.domain.observations import DestinationSample, LagSample, Observation, SourceStatus

POLL_SECONDS = 5.0
"""The server's own statistics move every five seconds."""
SHAPE_SECONDS = 60.0
"""Arguments, policies and bindings are asked for this seldom, and when queues came or went (at most each 10 s)."""
SHAPE_AGAIN_SECONDS = 10.0
DETAIL_SECONDS = 5.0
PAGE = 500

LIST, ROUTES, METRICS = "list queues", "read exchanges, bindings and policies", "read Prometheus metrics"

_DETAIL_COLUMNS = (
    "name,messages_ready,messages_unacknowledged,consumers,message_bytes,head_message_timestamp,message_stats.publish,"
    "message_stats.deliver_get,message_stats.redeliver,message_stats.ack,message_stats.deliver_no_ack,"
    "message_stats.get_no_ack"
)
_NOTHING, _UNTOLD = Details(), Numbers()


@dataclass(slots=True)
class Shape:
    """What seldom changes. `letters`: dead-letter queue → whose letters lie there, and how certain that is."""

    at: float
    queues: dict[str, Queue] = field(default_factory=dict)
    map: Map = field(default_factory=Map)
    routes: list[Route] = field(default_factory=list)
    letters: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    bound: dict[str, tuple[str, ...]] = field(default_factory=dict)


class RabbitMqCollector:
    """One source."""

    system = parse.SYSTEM

    def __init__(
        self, name: str, url: str, seconds: float = POLL_SECONDS, *, correlation_keys: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.seconds = seconds
        self._client = Client(url)
        self._amqp = Amqp(self._client.address, name)
        self._keys = tuple(correlation_keys)
        self._version = ""
        self._left: dict[str, str] = {}
        self._rights: dict[str, str] = {}
        self._shape: Shape | None = None
        self._details: dict[str, Details] = {}
        self._page = 1
        self._detailed_at = 0.0
        self._silent: str = ""
        self._readers = Readers()

    async def run(self, emit: Emit) -> None:
        """Observe until cancelled."""
        self._rights = dict.fromkeys((LIST, ROUTES), "unknown")
        if self._client.address.metrics:
            self._rights[METRICS] = "unknown"
        self._shape, self._details, self._page, self._detailed_at = None, {}, 1, 0.0
        self._readers.forget()
        try:
            overview = await self._client.connect()
            self._version = str(overview.get("rabbitmq_version", ""))
            await poll(lambda: self._cycle(emit), self.seconds)
        finally:
            try:
                await self._amqp.close()
            finally:
                await self._client.close()

    async def _cycle(self, emit: Emit) -> None:
        cost = Cost(self._client)
        clock = time.monotonic()
        try:
            shape = self._shape
            if shape is None or clock - shape.at >= SHAPE_SECONDS:
                shape = self._shape = await self._look(clock)
            told = await self._numbers(shape, clock)
            if set(told) != set(shape.queues) and clock - shape.at >= min(SHAPE_AGAIN_SECONDS, 2 * self.seconds):
                shape = self._shape = await self._look(clock)
        except NotAllowedError as refusal:
            self._rights[LIST] = "denied"
            await emit([self._status("blind", cost)])
            where = self._client.address
            raise CollectorError(
                f"can't list the queues of vhost {where.vhost[:100]}: give the user permissions there "
                f"(rabbitmqctl set_permissions -p {where.vhost[:100]} {where.user} '^$' '^$' '^$'). {refusal}"
            ) from None
        now = datetime.now(UTC)
        samples: list[Observation] = [*self._destinations(shape, told, now), *self._lags(shape, told, now)]
        samples += await self._readers.look(self._client, self.name, told, clock, now)
        if samples:
            await emit(samples)
        await self._take(shape, told, emit, now)
        await emit([self._status("ok", cost)])

    async def _take(self, shape: Shape, told: Mapping[str, Numbers], emit: Emit, now: datetime) -> None:
        """Letters of the queues that an operator named. Storing just worked, so it will most likely do so again."""
        wanted, self._left = self._client.address.take, {}
        for name in shape.queues if "*" in wanted else wanted:
            if name not in shape.letters:
                if "*" not in wanted:
                    self._left[name] = "is no dead-letter queue of this vhost"
            elif why := letters.why_not(shape.queues[name], self._version):
                self._left[name] = why
            elif told.get(name, _UNTOLD).ready:
                await letters.take(
                    self._amqp,
                    name,
                    emit,
                    partial(
                        letters.letter, queue=name, source=self.name, now=now, keys=self._keys, queues=shape.queues
                    ),
                )

    # What the server tells

    async def _look(self, clock: float) -> Shape:
        """Queues with their arguments, and what routes messages to them."""
        rows = await self._pages("queues/VHOST?disable_stats=true&columns=name,type,arguments,policy")
        self._rights[LIST] = "allowed"
        try:
            exchanges, bindings, policies = await asyncio.gather(
                self._client.get("exchanges/VHOST?columns=name,type,arguments"),
                self._client.get("bindings/VHOST?columns=source,destination,destination_type,routing_key"),
                self._client.get("policies/VHOST"),
            )
            self._rights[ROUTES] = "allowed"
        except NotAllowedError:
            self._rights[ROUTES] = "denied"
            exchanges, bindings, policies = [], [], []
        rules = {one.get("name"): one.get("definition") for one in policies if isinstance(one, dict)}
        shape = Shape(clock)
        for row in rows:
            name = str(row.get("name", ""))
            shape.queues[name] = Queue(
                name, str(row.get("type") or "classic"), settings(row.get("arguments"), rules.get(row.get("policy")))
            )
        shape.map = Map.of(exchanges, bindings, shape.queues)
        if self._rights[ROUTES] == "allowed":
            found = (shape.map.route(queue.name, queue.settings) for queue in shape.queues.values())
            shape.routes = [route for route in found if route is not None]
        shape.letters = _letters(shape)
        shape.bound = {name: shape.map.bound_to(name) for name in shape.queues}
        return shape

    async def _pages(self, path: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page = 1
        while True:
            answer = await self._client.get(f"{path}&page={page}&page_size={PAGE}")
            rows += _items(answer)
            if not isinstance(answer, dict) or page >= int(answer.get("page_count") or 0):
                return rows
            page += 1

    async def _numbers(self, shape: Shape, clock: float) -> dict[str, Numbers]:
        """What waits in every queue: by metrics where they are configured, else by the management API."""
        if not self._client.address.metrics and len(shape.queues) <= PAGE:
            rows = await self._pages(f"queues/VHOST?columns={_DETAIL_COLUMNS}")
            self._details = {str(row.get("name", "")): parse.details(row) for row in rows}
            return {str(row.get("name", "")): parse.numbers(row) for row in rows}
        if clock - self._detailed_at >= DETAIL_SECONDS:
            self._detailed_at = clock
            await self._more_details()
        if self._client.address.metrics:
            return await self._metrics()
        rows = _items(await self._client.get("queues/VHOST?disable_stats=true&enable_queue_totals=true"))
        return {str(row.get("name", "")): parse.numbers(row) for row in rows}

    async def _more_details(self) -> None:
        """One page of rates and ages: a vhost with many queues is walked through, never asked for at once."""
        path = f"queues/VHOST?columns={_DETAIL_COLUMNS}&page={self._page}&page_size={PAGE}"
        answer = await self._client.get(path)
        for row in _items(answer):
            self._details[str(row.get("name", ""))] = parse.details(row)
        more = isinstance(answer, dict) and self._page < int(answer.get("page_count") or 0)
        self._page = self._page + 1 if more else 1

    async def _metrics(self) -> dict[str, Numbers]:
        """Every node tells of the queues that it leads; one that is silent leaves its queues unknown."""
        urls = self._client.address.metrics
        answers = await asyncio.gather(
            *(self._client.metrics(url, parse.FAMILIES) for url in urls), return_exceptions=True
        )
        told: dict[str, Numbers] = {}
        self._silent = ""
        for answer in answers:
            if isinstance(answer, CollectorError):
                self._silent = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                told |= parse.metrics(answer, self._client.address.vhost)
        if self._silent and not told:
            self._rights[METRICS] = "denied" if "answered" in self._silent else "unknown"
            raise CollectorError(self._silent)
        self._rights[METRICS] = "allowed"
        return told

    # What becomes of it

    def _destinations(self, shape: Shape, told: Mapping[str, Numbers], now: datetime) -> Iterable[DestinationSample]:
        lost = {route.queue: route.lost for route in shape.routes}
        for name, queue in shape.queues.items():
            numbers, details = told.get(name, _UNTOLD), self._details.get(name, _NOTHING)
            of, certainty = shape.letters.get(name, ((), None))
            keeping = parse.keeping(queue, numbers.consumers) if of else parse.Keeping()
            known = numbers.ready is not None and numbers.unacked is not None
            yield DestinationSample(
                self.name, self.system, name, "stream" if queue.kind == "stream" else "queue", now,
                messages=(numbers.ready or 0) + (numbers.unacked or 0) if known else None,
                size_bytes=details.size_bytes,
                # The broker's own moves are in no counter: a dead-letter queue fills without a publish.
                published_total=None if of else details.published,
                dead_letters_of=of,
                dead_letter_certainty=certainty,
                letters_lost=lost.get(name) or keeping.lost,
                kept_seconds=keeping.seconds,
                kept_messages=keeping.messages,
                oldest_at=details.head_at if of and numbers.ready else None,
            )  # fmt: skip

    def _lags(self, shape: Shape, told: Mapping[str, Numbers], now: datetime) -> Iterable[LagSample]:
        for name, queue in shape.queues.items():
            numbers, details = told.get(name, _UNTOLD), self._details.get(name, _NOTHING)
            if not numbers.consumers and (name in shape.letters or queue.kind == "stream"):
                continue  # letters wait for a person, and what lies in a stream waits for nobody by itself
            ready, reason = numbers.ready, None
            if queue.kind == "stream":
                ready, reason = None, "a stream keeps what was read, and its readers' offsets are not told"
            elif ready is None:
                reason = self._silent or "the server does not tell: the queue's node may be down"
            head = details.head_at if ready else None
            yield LagSample(
                self.name, self.system, name, name, now, ready,
                in_flight=numbers.unacked,
                unknown_reason=reason,
                oldest_at=head,
                error_seconds=1.0 if head else None,  # whole seconds, by the publisher's clock
                published_total=details.published,
                delivered_total=details.delivered,
                settled_total=details.settled,
                members=numbers.consumers,
                container=self._client.address.vhost,
                subscriptions=(name, *shape.bound.get(name, ())),
            )  # fmt: skip

    def _status(self, state: str, cost: Cost) -> SourceStatus:
        return cost.on(
            SourceStatus(
                self.name,
                self.system,
                state,
                datetime.now(UTC),
                message=" ".join(self._remarks()),
                address=self._client.address.shown,
                rights=dict(self._rights),
            )
        )

    def _remarks(self) -> list[str]:
        said, shape = [], self._shape
        if self._rights[LIST] == "denied":
            said.append("No permission on this vhost: not seeing queues does not mean that there are none.")
        if self._rights[ROUTES] == "denied":
            said.append("Exchanges, bindings and policies can't be read, so dead-letter routes are unknown.")
        if self._silent:
            said.append(f"{self._silent}: the queues of that node are unknown.")
        if shape is None:
            return said
        lost = [f"{route.queue} ({route.lost})" for route in shape.routes if route.lost]
        if lost:
            said.append(f"Dead letters are lost without a word: {'; '.join(sorted(lost)[:5])}.")
        if self._left:
            said.append(
                f"Letters are not taken: {'; '.join(f'{n} {why}' for n, why in sorted(self._left.items())[:5])}."
            )
        if shape.letters and not self._client.address.take:
            said.append(
                "Letters in dead-letter queues are counted, not read: fetching one would change its queue "
                "(?take= lets us keep them)."
            )
        if len(shape.queues) > PAGE and not self._client.address.metrics:
            said.append("With this many queues ?prometheus=15692 in the URL costs the server a tenth.")
        return said


def _letters(shape: Shape) -> dict[str, tuple[tuple[str, ...], str]]:
    configured: dict[str, set[str]] = {}
    for route in shape.routes:
        for target in route.targets:
            configured.setdefault(target, set()).add(route.queue)
    found = {queue: (tuple(sorted(of)[:20]), "configured") for queue, of in configured.items()}
    for name in shape.queues:
        if name not in found and dead_letters.named_like_dead_letters(name) == "strong":
            found[name] = ((dead_letters.named_origin(name) or "*",), "by-name")
    return found


def _items(answer: object) -> list[dict[str, Any]]:
    rows = answer.get("items") if isinstance(answer, dict) else answer
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
