"""Looks at one Kafka cluster: topics, groups, lag in messages and in seconds, dead letters, and what we may see.

Promises: at most three requests a broker and one a group in a cycle, besides what is asked once a minute; commits are
read before ends, so lag is never negative; nothing changes on the cluster by it.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from collectors.base import Emit, poll
from collectors.cost import Cost
from collectors.kafka import parse
from collectors.kafka.client import EARLIEST, LATEST, Answer, Client, NotAllowedError
from collectors.kafka.letters import Letters, Look
from collectors.kafka.markers import Markers
from collectors.kafka.parse import Ends, Group, Partition
from collectors.kafka.places import Finder, Place
from collectors.kafka.share_groups import ShareGroups
from collectors.kafka.times import Estimate, Times
from collectors.kafka.topic_settings import TopicSettings
from collectors.kafka.transactions import Transactions
from collectors.members import MemberNews
from eventflow.domain.observations import (
    DestinationSample,
    GroupMembers,
    LagSample,
    Observation,
    SourceStatus,
)

POLL_SECONDS = 5.0
SLOW_SECONDS = 60.0
"""How often each group's members and every partition's first offset are asked for."""
FEW_PARTITIONS = 1000
SOON_SECONDS, STARTS_SECONDS = 10.0, 30.0
"""Up to so few partitions the topic list and the first offsets are asked for this often, else once a minute."""
COMPACTED = "the topic is compacted: of the letters with one key only the newest stays"
GONE = frozenset({"dead"})

TOPICS, GROUPS, MEMBERS, COMMITS, SETTINGS, READ = (
    "list topics", "list all groups", "describe groups", "read committed offsets", "read topic settings",
    "read messages",
)  # fmt: skip


class KafkaCollector:
    """One source. Keeps its cursors over restarts of `run`, so that a lost connection loses nothing.

    `resume` is what an earlier collector's `cursors` said.
    """

    system = parse.SYSTEM

    def __init__(
        self,
        name: str,
        url: str,
        seconds: float = POLL_SECONDS,
        *,
        correlation_keys: Sequence[str] = (),
        resume: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.seconds = seconds
        self._client = Client(url, name)
        self._finder = Finder()
        self._markers = Markers()
        self._shares = ShareGroups()
        self._settings = TopicSettings()
        self._transactions = Transactions()
        self._letters = Letters(name, self._finder, resume, correlation_keys=correlation_keys)
        self._rights: dict[str, str] = {}
        self._topics: dict[str, int] = {}
        self._groups: dict[str, Group] = {}
        self._start: dict[Partition, int] = {}
        self._times: dict[Partition, Times] = {}
        self._news = MemberNews()
        self._asked_at: dict[str, float] = {}
        self._silent: set[str] = set()
        self._letter_topics: list[str] = []

    @property
    def cursors(self) -> Mapping[str, int]:
        """How far letters were read and stored; give it as `resume` to go on from there."""
        return dict(self._letters.cursors)

    async def run(self, emit: Emit) -> None:
        """Observe until cancelled."""
        self._rights = dict.fromkeys((TOPICS, GROUPS, MEMBERS, COMMITS, SETTINGS, READ), "unknown")
        self._asked_at.clear()
        self._news.forget()
        try:
            await self._client.connect()
            whole = await self._client.may_see_all_groups()
            self._rights[GROUPS] = "unknown" if whole is None else "allowed" if whole else "denied"
            await poll(lambda: self._cycle(emit), self.seconds)
        finally:
            await self._client.close()

    async def _cycle(self, emit: Emit) -> None:
        cost = Cost(self._client)
        await self._look_at_topics()
        listed = [group for group in await self._client.groups() if group.state not in GONE]
        shared = await self._shares.look(self._client, listed)
        groups = [*await self._look_at_groups([group for group in listed if group.kind != parse.SHARE]), *shared]
        self._groups |= {group.name: group for group in shared}
        ends, now = await self._look_at_ends()
        self._shares.count(shared, ends.end)
        oldest = await self._look_at_times(groups, ends, now)
        await self._look_at_gaps(groups, ends, now)
        places = await self._places(ends)
        self._letter_topics = [place.topic for place in places if place.topic in self._topics]
        samples: list[Observation] = [*self._destinations(ends, places, now)]
        samples += self._lags(groups, ends, oldest, now)
        samples += self._members(groups, now)
        if samples:
            await emit(samples)
        if self._rights[READ] != "denied" or places:
            look = Look(self._client, ends, places, frozenset(self._groups), frozenset(self._topics), emit, now)
            refused = await self._letters.read(look)
            if refused is not None:
                self._rights[READ] = "denied" if refused else "allowed"
        await emit([self._status(cost)])

    def _due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if what in self._asked_at and now - self._asked_at[what] < seconds:
            return False
        self._asked_at[what] = now
        return True

    # What the cluster tells

    async def _look_at_topics(self) -> None:
        count = sum(self._topics.values())
        if not self._due("topics", (SOON_SECONDS if count <= FEW_PARTITIONS else SLOW_SECONDS) if count else 0):
            return
        before, self._topics = self._topics, await self._client.topics()
        self._rights[TOPICS] = "allowed" if self._topics else "unknown"
        if before.keys() != self._topics.keys():
            self._asked_at.pop("starts", None)
            gone = {p for p in (*self._start, *self._times) if p.number >= self._topics.get(p.topic, 0)}
            for partition in gone:
                self._start.pop(partition, None)
                self._times.pop(partition, None)

    async def _look_at_groups(self, groups: list[Group]) -> list[Group]:
        """Groups with members and commits. Members are asked for when the state changed, else once a minute in turn."""
        now = time.monotonic()
        for group in groups:
            known = self._groups.get(group.name)
            if group.state == "empty":
                group.members, group.consumers, group.described_at = 0, (), now
            elif known is not None and known.state == group.state:
                group.members, group.assigned, group.readers = known.members, known.assigned, known.readers
                group.consumers = known.consumers
                group.described_at = known.described_at
        self._groups = {group.name: group for group in groups}
        # A member may join or leave without a change of state that we happen to see: look again soon, then rarely.
        share = max(1, int(len(groups) * self.seconds / SLOW_SECONDS) + 1)
        stale = sorted((g for g in groups if g.state != "empty"), key=lambda group: group.described_at)
        asked = [group for i, group in enumerate(stale) if group.described_at == 0 or (i < share and _old(group, now))]
        if asked:
            allowed = await self._client.describe(asked)
            self._rights[MEMBERS] = "allowed" if allowed else "denied"
            for group in asked:
                group.described_at = now
        refused, self._silent = await self._client.commits(groups)
        if groups:
            self._rights[COMMITS] = "denied" if refused or self._shares.refused else "allowed"
        return [group for group in groups if group.name not in refused | self._silent]

    async def _look_at_ends(self) -> tuple[Ends, datetime]:
        every = sum(self._topics.values())
        if self._due("starts", SLOW_SECONDS if every > FEW_PARTITIONS else STARTS_SECONDS):
            self._start = (await self._client.edges(EARLIEST)).found
        ends = await self._client.edges(LATEST)
        if len(ends.found) + len(ends.refused) < every:
            self._asked_at.pop("topics", None)  # a leader moved: ask who leads now
        return Ends(self._start, ends.found, ends.refused), datetime.now(UTC)

    async def _look_at_times(self, groups: list[Group], ends: Ends, now: datetime) -> Mapping[Partition, Times]:
        """Narrow down when the oldest waiting record was written, where something waits: one request a broker."""
        waiting: dict[Partition, int] = {}
        more: dict[Partition, set[int]] = {}
        for group in groups:
            for partition, committed in group.commits.items():
                end, start = ends.end.get(partition), ends.start.get(partition, 0)
                if end is None or committed >= end or parse.left(group, partition.topic):
                    continue
                at = start if start > committed else committed
                if (known := waiting.setdefault(partition, at)) != at:
                    more.setdefault(partition, {known}).add(at)
        clock = int(now.timestamp() * 1000)
        for partition in self._times.keys() - waiting.keys():
            del self._times[partition]
        questions: dict[Partition, int] = {}
        for partition, offset in waiting.items():
            if (times := self._times.get(partition)) is None:
                times = self._times[partition] = Times()
            times.saw_end(ends.end[partition], clock)
            if partition in more:
                offsets = sorted(more[partition])
                times.forget_before(offsets[0])
                if unclear := [each for each in offsets if not times.near(each, clock)]:
                    questions[partition] = times.next_question(unclear[0], clock)
                continue
            times.forget_before(offset)
            if not times.near(offset, clock):
                questions[partition] = times.next_question(offset, clock)
        if questions:
            self._take(await self._client.offsets(questions), questions, ends)
        return self._times

    async def _look_at_gaps(self, groups: list[Group], ends: Ends, now: datetime) -> None:
        """Where offsets wait that hold no record, or none that a reader of committed records may have yet."""
        await self._settings.look(self._client, self._topics, self._letter_topics)
        if self._settings.allowed is not None:
            self._rights[SETTINGS] = "allowed" if self._settings.allowed else "denied"
        counted = [group for group in groups if group.kind != parse.SHARE]
        await self._markers.look(self._client, counted, ends, self._settings.compacted)
        if self._due("transactions", STARTS_SECONDS):
            await self._transactions.look(self._client, self._times.keys(), ends, int(now.timestamp() * 1000))

    def _take(self, answer: Answer, questions: Mapping[Partition, int], ends: Ends) -> None:
        for partition, (offset, at) in answer.items():
            known = at is not None and offset >= 0
            self._times[partition].answered(questions[partition], offset if known else None, at, ends.end[partition])

    async def _places(self, ends: Ends) -> list[Place]:
        try:
            found = await self._finder.places(self._client, self._topics, ends, may_peek=self._rights[READ] != "denied")
        except NotAllowedError:
            self._rights[READ] = "denied"
            return await self._finder.places(self._client, self._topics, ends, may_peek=False)
        return found

    # What becomes of it

    def _destinations(self, ends: Ends, places: list[Place], now: datetime) -> list[DestinationSample]:
        at = {place.topic: place for place in places}
        samples = []
        for topic, count in self._topics.items():
            last = [ends.end.get(partition) for partition in self._client.partitions[topic]]
            first = [ends.start.get(partition) for partition in self._client.partitions[topic]]
            total = parse.total(last)
            place = at.get(topic)
            of = self._finder.letters_of(place, self._topics, self._groups) if place else ()
            samples.append(
                DestinationSample(
                    self.name, self.system, topic, "topic", now,
                    messages=parse.kept(first, last),
                    published_total=total, partitions=count, dead_letters_of=of,
                    dead_letter_certainty=place.certainty if place and of else None,
                    letters_lost=COMPACTED if of and topic in self._settings.compacted else None,
                    kept_seconds=self._settings.kept_seconds.get(topic) if of else None,
                )
            )  # fmt: skip
        return samples

    def _lags(
        self, groups: list[Group], ends: Ends, times: Mapping[Partition, Times], now: datetime
    ) -> list[LagSample]:
        clock = int(now.timestamp() * 1000)
        proved = self._markers.messages if self._markers.any else None
        samples: list[LagSample] = []

        def dated(partition: Partition, offset: int) -> Estimate | None:
            known = times.get(partition)
            return None if known is None else known.date(offset, clock)

        for group in groups:
            samples += parse.lags(self.name, group, self._topics, ends, at=now, dated=dated, proved=proved)
        return samples

    def _members(self, groups: list[Group], now: datetime) -> list[GroupMembers]:
        """Who is in which group, where that changed since it was told last."""
        there = [
            GroupMembers(self.name, self.system, group.name, now, group.consumers)
            for group in groups
            if group.consumers is not None
        ]
        self._news.forget(keep={(name, None) for name in self._groups})
        return [found for found in there if self._news.is_news(found)]

    def _status(self, cost: Cost) -> SourceStatus:
        return cost.on(
            SourceStatus(
                self.name,
                self.system,
                "ok",
                datetime.now(UTC),
                message=" ".join(self._remarks()),
                address=self._client.address.shown,
                rights=dict(self._rights),
                cursors=self.cursors,
            )
        )

    def _remarks(self) -> list[str]:
        said = []
        if not self._topics:
            said.append("No topic is to be seen: there is none, or Describe on topics is not granted.")
        if self._rights[GROUPS] == "denied":
            said.append("Only groups granted one by one are listed: grant Describe on the cluster to see all.")
        if self._rights[MEMBERS] == "denied" or self._rights[COMMITS] == "denied":
            said.append("Some groups may not be looked at: grant Describe on group *.")
        if self._rights[READ] == "denied":
            said.append("Messages may not be read, so dead letters are not shown: grant Read on their topics.")
        said += self._transactions.remarks()
        if gaps := sorted(self._settings.compacted & {partition.topic for partition in self._times}):
            shown = ", ".join(gaps[:3]) + (" …" if len(gaps) > 3 else "")
            said.append(f"On compacted topics lag is at most so much, some offsets there hold no record: {shown}.")
        if self._silent:
            said.append(f"{len(self._silent)} groups could not be looked at now: their coordinator gave no answer.")
        return said


def _old(group: Group, now: float) -> bool:
    return now - group.described_at >= SLOW_SECONDS
