"""Looks at the SQS queues of one region: what waits, what is in flight, what redrives where, and what we may see.

Promises: ListQueues, GetQueueAttributes and ListDeadLetterSourceQueues only; no message is received unless an operator
named its dead-letter queue. One call a queue in a cycle, because AWS bills each. SQS's counts are approximate and are
told as such; who reads a queue it does not tell.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from collectors.base import CollectorError, Emit, poll
from collectors.conventions import dead_letters
from collectors.cost import Cost
from collectors.members import MemberNews
from collectors.sqs import letters, parse
from collectors.sqs.client import Client, NotAllowedError
from collectors.sqs.parse import Queue
from eventflow.domain.observations import DestinationSample, GroupMembers, LagSample, Observation, SourceStatus

POLL_SECONDS = 30.0
SHAPE_SECONDS = 120.0
"""How often queues are listed and dead-letter queues asked for their sources."""
AGE_SECONDS = 60.0
AGE_ERROR_SECONDS = 60.0

NOT_TOLD = (
    "SQS tells neither who receives nor how many messages came or went, and what waits at two moments does not tell "
    "it either: readers and rates are known from spans."
)
LIST, NUMBERS, SOURCES, AGES = "list queues", "read queue attributes", "list dead-letter sources", "read ages"


@dataclass
class Shape:
    """What changes seldom: which queues there are, and what redrives where."""

    urls: list[str] = field(default_factory=list)
    letters: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    asked: dict[str, tuple[str, ...]] = field(default_factory=dict)


class SqsCollector:
    """One source."""

    system = parse.SYSTEM

    def __init__(
        self, name: str, url: str, seconds: float = POLL_SECONDS, *, correlation_keys: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._client = Client(url)
        # What suits a broker of one's own would be dear here.
        self.seconds = self._client.address.every or min(60.0, max(seconds, POLL_SECONDS))
        self._keys = tuple(correlation_keys)
        self._rights: dict[str, str] = {}
        self._shape = Shape()
        self._ages: dict[str, tuple[datetime, float]] = {}
        self._asked_at: dict[str, float] = {}
        self._unseen: set[str] = set()
        self._left: dict[str, str] = {}
        self._hasty: list[str] = []
        self._news = MemberNews()

    async def run(self, emit: Emit) -> None:
        """Observe until cancelled."""
        self._rights = dict.fromkeys((LIST, NUMBERS, SOURCES), "unknown")
        if self._client.address.cloudwatch:
            self._rights[AGES] = "unknown"
        self._asked_at.clear()
        self._news.forget()
        try:
            await self._client.connect()
            await poll(lambda: self._cycle(emit), self.seconds)
        finally:
            await self._client.close()

    async def _cycle(self, emit: Emit) -> None:
        cost = Cost(self._client)
        new = self._due("shape", SHAPE_SECONDS)
        if new:
            await self._list(emit)
        queues = await self._queues()
        await self._look_for_letters(queues, again=new)
        now = datetime.now(UTC)
        await self._look_at_ages(queues, now)
        samples: list[Observation] = [*self._destinations(queues, now), *self._lags(queues, now)]
        samples += self._readers(queues, now)
        if samples:
            await emit(samples)
        await self._take(queues, emit, now)
        await emit([self._status("ok", cost)])

    def _due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if what in self._asked_at and now - self._asked_at[what] < min(seconds, 10 * self.seconds):
            return False
        self._asked_at[what] = now
        return True

    # What SQS tells

    async def _list(self, emit: Emit) -> None:
        cost = Cost(self._client)
        try:
            self._shape.urls = sorted(await self._client.queue_urls())
        except NotAllowedError as refusal:
            self._rights[LIST] = "denied"
            await emit([self._status("blind", cost)])
            raise CollectorError(
                f"can't find queues: allow {refusal.action}, or name them in the URL with ?queues=a+b"
            ) from None
        self._rights[LIST] = "unknown" if self._client.address.queues else "allowed"

    async def _queues(self) -> list[Queue]:
        """Every queue with its numbers. One that may not be looked at is named in the status."""
        limit = asyncio.Semaphore(16)

        async def look(url: str) -> Mapping[str, str] | None:
            async with limit:
                return await self._client.attributes(url)

        urls = self._shape.urls
        answers = await asyncio.gather(*(look(url) for url in urls), return_exceptions=True)
        self._unseen.clear()
        found: list[Queue] = []
        for url, answer in zip(urls, answers, strict=True):
            if isinstance(answer, NotAllowedError):
                self._unseen.add(parse.name_of(url))
            elif isinstance(answer, BaseException):
                raise answer
            elif answer is not None:
                found.append(parse.queue(url, answer))
        if urls:
            self._rights[NUMBERS] = "allowed" if found or not self._unseen else "denied"
        return found

    async def _look_for_letters(self, queues: Sequence[Queue], *, again: bool) -> None:
        """By the redrive policies we see; of a queue that only its name tells, SQS is asked for its sources."""
        policies: dict[str, set[str]] = {}
        for queue in queues:
            if queue.dead_letters:
                policies.setdefault(queue.dead_letters, set()).add(queue.name)
        named = [q for q in queues if dead_letters.named_like_dead_letters(q.name) == "strong"]
        if again:
            asked = {q.name: await self._sources(q) for q in named if q.name not in policies}
            self._shape.asked = {name: sources for name, sources in asked.items() if sources}
        found = {name: (tuple(sorted(of)[:20]), "configured") for name, of in policies.items()}
        for queue in named:
            if queue.name in self._shape.asked:
                found.setdefault(queue.name, (self._shape.asked[queue.name], "configured"))
            found.setdefault(queue.name, ((dead_letters.named_origin(queue.name) or "*",), "by-name"))
        self._shape.letters = found
        kept = {queue.name: queue.retention_seconds for queue in queues}
        self._hasty = [
            q.name for q in queues
            if q.dead_letters and not q.fifo and (kept.get(q.dead_letters) or 1 << 30) <= (q.retention_seconds or 0)
        ]  # fmt: skip

    async def _sources(self, queue: Queue) -> tuple[str, ...]:
        try:
            urls = await self._client.sources_of(queue.url)
        except NotAllowedError:
            self._rights[SOURCES] = "denied"
            return ()
        self._rights[SOURCES] = "allowed"
        return tuple(sorted(parse.name_of(url) for url in urls)[:20])

    async def _look_at_ages(self, queues: Sequence[Queue], now: datetime) -> None:
        if not self._client.address.cloudwatch or not self._due("ages", AGE_SECONDS):
            return
        try:
            self._ages = await self._client.ages([queue.name for queue in queues], now)
        except NotAllowedError:
            self._rights[AGES], self._ages = "denied", {}
            return
        self._rights[AGES] = "allowed"

    async def _take(self, queues: Sequence[Queue], emit: Emit, now: datetime) -> None:
        """Letters of the queues that an operator named. Storing just worked, so it will most likely do so again."""
        wanted, self._left = self._client.address.take, {}
        by_name = {queue.name: queue for queue in queues}
        for name in self._shape.letters if "*" in wanted else wanted:
            queue = by_name.get(name)
            if queue is None or name not in self._shape.letters:
                if "*" not in wanted:
                    self._left[name] = "is no dead-letter queue here"
            elif why := letters.why_not(queue):
                self._left[name] = why
            elif queue.ready:
                of, _ = self._shape.letters[name]
                read = partial(letters.letter, queue=name, source=self.name, now=now, keys=self._keys, of=of)
                try:
                    await letters.take(self._client, queue, emit, read)
                except NotAllowedError as refusal:
                    self._left[name] = f"is {refusal}"

    # What becomes of it

    def _destinations(self, queues: Sequence[Queue], now: datetime) -> list[DestinationSample]:
        samples = []
        lost = parse.lost_letters(queues, whole=self._rights[LIST] == "allowed" and self._client.address.whole)
        for queue in queues:
            of, certainty = self._shape.letters.get(queue.name, ((), None))
            age = self._ages.get(queue.name) if of and queue.ready else None
            samples.append(
                DestinationSample(
                    self.name, self.system, queue.name, "queue", now,
                    messages=parse.total(queue), dead_letters_of=of, dead_letter_certainty=certainty,
                    letters_lost=lost.get(queue.name),
                    kept_seconds=queue.retention_seconds if of else None,
                    oldest_at=age[0].astimezone(UTC) - timedelta(seconds=age[1]) if age else None,
                )
            )  # fmt: skip
        return samples

    def _lags(self, queues: Sequence[Queue], now: datetime) -> list[LagSample]:
        samples = []
        for queue in queues:
            if queue.name in self._shape.letters:
                continue  # letters wait for a person
            age = self._ages.get(queue.name) if queue.ready else None
            samples.append(
                LagSample(
                    self.name, self.system, queue.name, queue.name, now, queue.ready,
                    in_flight=queue.in_flight,
                    unknown_reason=None if queue.ready is not None else "SQS tells no number",
                    oldest_at=age[0].astimezone(UTC) - timedelta(seconds=age[1]) if age else None,
                    error_seconds=AGE_ERROR_SECONDS if age else None,
                    method="broker-approximate",
                    subscriptions=(queue.name,),
                )
            )  # fmt: skip
        return samples

    def _readers(self, queues: Sequence[Queue], now: datetime) -> list[GroupMembers]:
        """That nobody is named, and no rate: what waits says neither what came nor what went."""
        found = []
        for queue in queues:
            told = {"delayed": queue.delayed, "most receives": queue.max_receives}
            words = tuple((name, str(count)) for name, count in told.items() if count is not None)
            if queue.name not in self._shape.letters:
                found.append(GroupMembers(self.name, self.system, queue.name, now, None, queue.name, words, NOT_TOLD))
        self._news.forget(keep={(queue.name, queue.name) for queue in queues})
        return [one for one in found if self._news.is_news(one)]

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
        said = []
        if self._rights[LIST] == "denied":
            said.append("Queues may not be listed: not seeing any does not mean that there are none.")
        elif not self._shape.urls:
            said.append("No queue is to be seen in this region (with this prefix).")
        if self._unseen:
            said.append(f"{len(self._unseen)} queues may not be looked at: {', '.join(sorted(self._unseen)[:5])}.")
        if self._rights.get(AGES) == "denied":
            said.append("Ages are unknown: allow cloudwatch:GetMetricData.")
        if self._left:
            said.append(f"Letters not taken: {'; '.join(f'{n} {why}' for n, why in sorted(self._left.items())[:5])}.")
        if self._shape.letters and not self._client.address.take:
            said.append(
                "Letters in dead-letter queues are counted, not read: receiving one would hide it and count as an "
                "attempt (?take= lets us keep them)."
            )
        if self._hasty:
            said.append(
                f"Letters of {', '.join(sorted(self._hasty)[:5])} may be dropped early: their dead-letter queue keeps "
                "messages no longer than the queue itself, counted from when they were first sent."
            )
        return said
