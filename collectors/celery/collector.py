"""Looks at Celery: queues' depth, what workers hold, who is online, failed tasks; and what we may see.

Promises: no task is fetched and no worker is asked anything: `celery inspect` would tell more, but it is a broadcast
that every worker has to answer. On Redis reading and one subscription leave nothing
behind; on RabbitMQ events need a queue of our own, which ends with our connection: the one thing that is made.
Depths are exact; events tell only what happens while we listen, and only of workers that run with `-E`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from collectors.base import CollectorError, Emit, poll
from collectors.celery import parse
from collectors.celery.address import Address
from collectors.celery.amqp import AmqpClient
from collectors.celery.client import RedisClient
from collectors.celery.events import Events
from collectors.celery.parse import NotAllowedError, Seen
from collectors.celery.tallies import Tally
from collectors.closing import closed, ended
from collectors.cost import Cost
from collectors.members import MemberNews
from eventflow.domain.observations import (
    DestinationSample,
    GroupMember,
    GroupMembers,
    LagSample,
    Observation,
    SourceStatus,
)

POLL_SECONDS = 2.0
FIND_SECONDS = 15.0
"""How often queues are looked for."""
QUIET_SECONDS = 30.0
PAGE = 200

NO_READERS = (
    "Which queues a worker reads no event tells, and asking the workers (celery inspect) would have them answer."
)
LIST, DEPTHS, EVENTS = "find queues", "read queue lengths", "hear events"


AMQP = ("celery+amqp", "celery+amqps")


class Broker(Protocol):
    """What carries the tasks."""

    address: Address
    calls: int
    received_bytes: int
    usual: tuple[str, ...]
    events_right: str

    async def connect(self) -> None: ...

    async def close(self) -> None: ...

    async def bindings(self) -> dict[tuple[str, str], str]: ...

    async def look(self, queues: Sequence[str], bindings: Mapping[tuple[str, str], str]) -> Seen: ...

    async def listen(self, heard: Callable[[bytes], None], ready: asyncio.Event) -> None: ...


class CeleryCollector:
    """One source. Keeps failures that could not be stored over restarts of `run`."""

    system = parse.SYSTEM

    def __init__(self, name: str, url: str, seconds: float = POLL_SECONDS) -> None:
        self.name = name
        self.seconds = seconds
        self.listening = asyncio.Event()
        self._client: Broker = AmqpClient(url, name) if urlsplit(url).scheme.lower() in AMQP else RedisClient(url)
        self._events = Events(name)
        self._rights: dict[str, str] = {}
        self._bindings: dict[tuple[str, str], str] = {}
        self._found_at = 0.0
        self._began_at = 0.0
        self._crowded = 0
        self._deaf: CollectorError | None = None
        self._news = MemberNews()

    async def run(self, emit: Emit) -> None:
        """Observe until cancelled."""
        self._rights = dict.fromkeys((LIST, DEPTHS, EVENTS), "unknown")
        self._bindings, self._found_at, self._began_at = {}, 0.0, time.monotonic()
        self._deaf = None
        self._news.forget()
        self.listening.clear()
        hearing: asyncio.Task[None] | None = None
        try:
            await self._client.connect()
            hearing = asyncio.create_task(self._hear())
            await poll(lambda: self._cycle(emit), self.seconds)
        finally:
            try:
                if hearing is not None:
                    hearing.cancel()
                    await closed(ended(hearing))
            finally:
                await self._client.close()

    async def _hear(self) -> None:
        """Hear events until cancelled; why that ended is told by the next look."""
        try:
            await self._client.listen(lambda data: self._events.heard(data, datetime.now(UTC)), self.listening)
        except CollectorError as error:
            self._deaf = error

    async def _cycle(self, emit: Emit) -> None:
        cost = Cost(self._client)
        self._check_hearing()
        if not self._found_at or time.monotonic() - self._found_at >= min(FIND_SECONDS, 5 * self.seconds):
            await self._find(emit)
        queues = self._queues()
        self._events.tallies.only = queues[0] if len(queues) == 1 else None
        seen = await self._look(queues)
        now = datetime.now(UTC)
        samples = self._samples(queues, seen, now)
        if samples:
            await emit(samples)
        self._events.settle(now)
        while self._events.letters:
            page = self._events.letters[:PAGE]
            await emit(page)
            del self._events.letters[: len(page)]
        await emit([self._status("ok", cost, seen)])

    def _queues(self) -> list[str]:
        named = self._client.address.queues
        return sorted(named or {*self._bindings.values(), *self._client.usual, *self._events.queues})

    def _check_hearing(self) -> None:
        """A lost subscription ends the run; one that is refused leaves the queues to be seen."""
        if self.listening.is_set():
            self._rights[EVENTS] = "allowed"
        if isinstance(self._deaf, NotAllowedError):
            self._rights[EVENTS] = "denied"
        elif self._deaf is not None:
            raise self._deaf

    # What Redis tells

    async def _find(self, emit: Emit) -> None:
        cost = Cost(self._client)
        try:
            found = await self._client.bindings()
        except NotAllowedError as refusal:
            self._rights[LIST] = "denied"
            if not self._client.address.queues:
                await emit([self._status("blind", cost, None)])
                raise CollectorError(
                    f"can't find queues: allow +scan and +smembers, or name them with ?queues=a+b. {refusal}"
                ) from None
            found = {}
        else:
            self._rights[LIST] = "allowed"
        named = self._client.address.queues
        self._bindings = {where: queue for where, queue in found.items() if not named or queue in named}
        self._found_at = time.monotonic()

    async def _look(self, queues: Sequence[str]) -> Seen | None:
        """What waits and what workers hold; None where it may not be read."""
        try:
            seen = await self._client.look(queues, self._bindings)
        except NotAllowedError:
            self._rights[DEPTHS] = "denied"
            return None
        self._rights[DEPTHS] = "allowed" if queues else "unknown"
        self._crowded = seen.held_count or 0 if seen.held is None else 0
        for task in seen.held or ():
            self._events.tallies.learn(task.name, task.queue)
        return seen

    # What becomes of it

    def _samples(self, queues: Sequence[str], seen: Seen | None, now: datetime) -> list[Observation]:
        online = sum(worker.online(now) for worker in self._events.workers.values())
        heard = bool(self._events.workers) or bool(self._events.counts)
        alone = online if heard and len(queues) == 1 else None
        samples: list[Observation] = []
        for queue in queues:
            ready = seen.ready.get(queue) if seen is not None else None
            if seen is not None and ready is None:
                continue  # there is no such queue (yet)
            held = seen.held if seen is not None else None
            mine = [task for task in held if task.queue == queue] if held is not None else None
            waiting = sum(1 for task in mine or () if task.eta and task.eta > now)
            totals = self._events.tallies.totals(queue, ready, now.timestamp()) if self.listening.is_set() else None
            samples.append(
                DestinationSample(
                    self.name, self.system, queue, "queue", now,
                    messages=None if ready is None or mine is None else ready + len(mine),
                )
            )  # fmt: skip
            samples.append(
                LagSample(
                    self.name, self.system, queue, queue, now, ready,
                    in_flight=None if mine is None else len(mine) - waiting,
                    unknown_reason=None if ready is not None else "the queue's length may not be read",
                    # Which queues a worker reads no event tells.
                    members=seen.members.get(queue) if seen and seen.members is not None else alone,
                    subscriptions=(queue,),
                    published_total=totals.came if totals else None,
                    delivered_total=totals.fetched if totals else None,
                    settled_total=totals.ended if totals else None,
                )
            )  # fmt: skip
            readers = self._readers(queue, len(queues) == 1, None if mine is None else waiting, now)
            if heard and self._news.is_news(readers):
                samples.append(readers)
        self._news.forget(keep={(queue, queue) for queue in queues})
        return samples

    def _readers(self, queue: str, alone: bool, waiting: int | None, now: datetime) -> GroupMembers:
        """Workers, where it is known that they read this queue, and what became of its tasks since we listen."""
        tally = self._events.tallies.queues.get(queue, Tally())
        told = {"waiting for their time": waiting, "failed": tally.failed, "tried again": tally.retried}
        workers = self._events.workers.items()
        members = tuple(
            GroupMember(
                name,
                host=name.rpartition("@")[2],
                in_flight=worker.running,
                active_at=worker.seen_at,
                told=() if worker.processed is None else (("tasks since its start", str(worker.processed)),),
            )
            for name, worker in sorted(workers)
            if worker.online(now)
        )
        return GroupMembers(
            self.name,
            self.system,
            queue,
            now,
            members if alone else None,
            queue,
            tuple((name, str(count)) for name, count in told.items() if count is not None),
            "" if alone else NO_READERS,
        )

    def _status(self, state: str, cost: Cost, seen: Seen | None) -> SourceStatus:
        now = datetime.now(UTC)
        online = [worker for worker in self._events.workers.values() if worker.online(now)]
        counters = {
            "workers online": len(online),
            "tasks running": sum(worker.running or 0 for worker in online),
            **dict(sorted(self._events.counts.items())),
        }
        if seen is not None and seen.held_count is not None:
            counters["tasks held by workers"] = seen.held_count
        if seen is not None and seen.held is not None:
            counters["tasks waiting for their time"] = sum(1 for task in seen.held if task.eta and task.eta > now)
        return cost.on(
            SourceStatus(
                self.name,
                self.system,
                state,
                now,
                message=" ".join(self._remarks()),
                address=self._client.address.shown,
                rights=dict(self._rights),
                counters=counters,
            )
        )

    def _remarks(self) -> list[str]:
        said = []
        if not self._queues():
            said.append("No Celery queue is to be seen: no worker has declared one in this database yet.")
        if self._rights[DEPTHS] == "denied":
            said.append("Lengths may not be read: allow +llen, +hlen and +hscan on the queues' keys and on unacked.")
        if self._rights[EVENTS] == "denied":
            right = self._client.events_right.format(database=self._client.address.database)
            said.append(f"Events may not be heard: allow {right}.")
        elif time.monotonic() - self._began_at > QUIET_SECONDS and not self._events.counts:
            if self._events.workers:
                said.append("Workers tell of no task: run them with -E (or worker_send_task_events).")
            else:
                said.append("No worker was heard of: none runs, or its events are off (run it with -E).")
        clock = datetime.now(UTC).timestamp()
        if self._events.tallies.unplaced(clock):
            said.append(
                "Rates are not known: of some tasks nobody says the queue (senders with task_send_sent_event do)."
            )
        if silent := [queue for queue in self._queues() if self._events.tallies.silent(queue, clock)]:
            said.append(
                f"Rates of {', '.join(silent[:5])} are not known: tasks leave that no event tells of (purged, or taken "
                "by a worker without -E)."
            )
        if self._crowded:
            said.append(f"Workers hold {self._crowded} tasks, too many to tell which queue each is of.")
        return said
