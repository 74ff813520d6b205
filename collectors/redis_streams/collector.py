"""Looks at one Redis server: streams, their groups' lag and pending entries, dead letters, and what we may see.

Promises: SCAN, XINFO, XPENDING and XRANGE only; no entry is claimed, acknowledged or read as a consumer. A cycle walks
a bounded part of the key space; what can't be seen is said in the status, with the right that is missing.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from collectors.base import CollectorError, Emit, poll
from collectors.cost import Cost
from collectors.members import MemberNews
from collectors.redis_streams import parse
from collectors.redis_streams.backlog import Backlogs, Ready
from collectors.redis_streams.client import Client
from collectors.redis_streams.letters import Letters, Look, Place
from collectors.redis_streams.parse import Group, Stream
from collectors.redis_streams.ranks import EntryId, text
from collectors.redis_streams.resp import Command, Refusal
from eventflow.domain.observations import DestinationSample, GroupMembers, LagSample, Observation, SourceStatus

POLL_SECONDS = 2.0
SCAN_KEYS = 1000
SCANS_A_CYCLE = 20
"""Walking 20,000 keys takes the server some 25 ms."""
IDLE = timedelta(seconds=60)
MEMBERS_SECONDS = 60.0
"""How often the consumers of every group are asked for; those of a group that has something to do in every cycle."""

LIST, GROUPS, PENDING, READ = "list streams", "read groups", "read pending entries", "read entries"


class RedisStreamsCollector:
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
        self._letters = Letters(name, resume, correlation_keys=correlation_keys)
        self._backlogs = Backlogs()
        self._rights: dict[str, str] = {}
        self._keys: dict[bytes, None] = {}
        self._passing: set[bytes] = set()
        self._cursor: bytes = b"0"
        self._unseen: set[str] = set()
        self._lost: dict[str, int] = {}
        self._members_at: dict[tuple[bytes, bytes], tuple[float, int]] = {}
        """When each group's consumers were asked for last, and how many there were."""
        self._news = MemberNews()
        self._readers: list[GroupMembers] = []

    @property
    def cursors(self) -> Mapping[str, int]:
        """How far letters were read and stored; give it as `resume` to go on from there."""
        return dict(self._letters.cursors)

    async def run(self, emit: Emit) -> None:
        """Observe until cancelled."""
        self._rights = dict.fromkeys((LIST, GROUPS, PENDING, READ), "unknown")
        self._passing, self._cursor = set(), b"0"
        self._members_at.clear()
        self._news.forget()
        try:
            await self._client.connect()
            await self._probe()
            await poll(lambda: self._cycle(emit), self.seconds)
        finally:
            await self._client.close()

    async def _probe(self) -> None:
        """Which commands are allowed, asked of a key that need not exist; and whether this release counts right."""
        key = b"eventflow-permission-probe"
        asked: dict[str, Command] = {
            GROUPS: ("XINFO", "GROUPS", key),
            PENDING: ("XPENDING", key, "eventflow"),
            READ: ("XRANGE", key, "-", "+", "COUNT", 1),
        }
        *answers, info = await self._client.ask([*asked.values(), ("INFO", "server")])
        for right, answer in zip(asked, answers, strict=True):
            # A key pattern of the user's may leave out the probe's key: then only the streams will tell.
            denied = isinstance(answer, Refusal) and answer.code == "NOPERM"
            by_key = isinstance(answer, Refusal) and "key" in answer.text
            self._rights[right] = "unknown" if denied and by_key else "denied" if denied else "allowed"
        lines = info.decode("utf-8", "replace").splitlines() if isinstance(info, bytes) else []
        version = next((line.partition(":")[2] for line in lines if line.startswith("redis_version:")), "")
        self._backlogs.trusted = parse.counts_right(version)
        self._backlogs.denied = self._rights[READ] == "denied"

    async def _cycle(self, emit: Emit) -> None:
        cost = Cost(self._client)
        await self._find(emit)
        found = await self._streams()
        streams, now = [stream for stream, _ in found], datetime.now(UTC)
        self._backlogs.learn(streams)
        places = self._letters.places(streams)
        ends = await self._ends(places, now)
        samples: list[Observation] = [*self._destinations(streams, places, ends, now), *await self._lags(found, now)]
        if samples:
            await emit([*samples, *self._readers])
        if self._rights[READ] != "denied":
            groups = {parse.shown(group.name) for _, theirs in found for group in theirs}
            denied = await self._letters.read(Look(self._client, places, groups, {s.name for s in streams}, emit, now))
            if denied:
                self._rights[READ] = "denied"
        await emit([self._status("ok", cost)])

    # What the server tells

    async def _find(self, emit: Emit) -> None:
        """Walk on through the keys. A stream is dropped when a whole walk did not meet it."""
        if self._client.address.streams:
            self._keys = dict.fromkeys(parse.raw(name) for name in self._client.address.streams)
            return
        for _ in range(SCANS_A_CYCLE):
            cost = Cost(self._client)
            [answer] = await self._client.ask([("SCAN", self._cursor, "COUNT", SCAN_KEYS, "TYPE", "stream")])
            if isinstance(answer, Refusal):
                if answer.code != "NOPERM":
                    raise self._client.refused("SCAN", answer)
                self._rights[LIST] = "denied"
                await emit([self._status("blind", cost)])
                raise CollectorError("can't list streams: allow +scan, or name them in the URL with ?streams=a+b")
            self._cursor, keys = answer
            self._passing.update(keys)
            self._keys |= dict.fromkeys(sorted(keys))
            if self._cursor == b"0":
                self._keys = {key: None for key in self._keys if key in self._passing}
                self._passing.clear()
                break
        self._rights[LIST] = "allowed"

    async def _streams(self) -> list[tuple[Stream, list[Group]]]:
        keys = list(self._keys)
        commands = [command for key in keys for command in (("XINFO", "STREAM", key), ("XINFO", "GROUPS", key))]
        answers = await self._client.ask(commands)
        found: list[tuple[Stream, list[Group]]] = []
        self._unseen.clear()
        for key, told, groups in zip(keys, answers[::2], answers[1::2], strict=True):
            refused = next((a for a in (told, groups) if isinstance(a, Refusal) and a.code == "NOPERM"), None)
            if refused is not None:
                self._unseen.add(parse.shown(key))
                continue
            if (stream := parse.stream(key, told)) is not None:
                found.append((stream, list(parse.groups(groups))))
        if keys:
            self._rights[GROUPS] = "allowed" if found or not self._unseen else "denied"
        return found

    # What becomes of it

    def _destinations(
        self, streams: Sequence[Stream], places: Sequence[Place], ends: Mapping[bytes, datetime], now: datetime
    ) -> Iterable[DestinationSample]:
        letters = {place.stream.key: place for place in places}
        for stream in streams:
            place, end = letters.get(stream.key), ends.get(stream.key)
            yield DestinationSample(
                self.name, self.system, stream.name, "stream", now,
                messages=stream.length,
                published_total=stream.added,
                dead_letters_of=self._letters.letters_of(place) if place else (),
                dead_letter_certainty=place.certainty if place else None,
                letters_lost=f"the stream expires with all that it holds at {end:%Y-%m-%d %H:%M} UTC" if end else None,
                oldest_at=parse.moment(stream.first.id, now) if place and stream.first else None,
            )  # fmt: skip

    async def _ends(self, places: Sequence[Place], now: datetime) -> dict[bytes, datetime]:
        """When streams with letters expire, where that is set and may be asked (+pttl)."""
        answers = await self._client.ask([("PTTL", place.stream.key) for place in places])
        told = zip(places, answers, strict=True)
        # Minus one: never. A server's clock is not ours, but its milliseconds are.
        return {
            place.stream.key: now + timedelta(milliseconds=left)
            for place, left in told
            if isinstance(left, int) and left >= 0
        }

    async def _lags(self, found: Sequence[tuple[Stream, list[Group]]], now: datetime) -> list[LagSample]:
        asked = [(stream, group) for stream, groups in found for group in groups]
        told = await self._backlogs.ready(self._client, asked)
        if self._backlogs.denied:
            self._rights[READ] = "denied"
        waiting = [
            i for i, ((_, group), ready) in enumerate(zip(asked, told, strict=True)) if ready.count or group.pending
        ]
        oldest = dict(zip(waiting, await self._oldest([(*asked[i], told[i]) for i in waiting]), strict=True))
        known = await self._members(asked, set(waiting), now)
        members = {i: parse.active(there.members, now - IDLE) for i, there in known.items() if i in oldest}
        self._lost = {}
        samples = []
        for index, ((stream, group), ready) in enumerate(zip(asked, told, strict=True)):
            if lost := ready.lost(stream):
                self._lost[f"{parse.shown(group.name)} on {stream.name}"] = lost
            samples.append(
                LagSample(
                    self.name, self.system, stream.name, parse.shown(group.name), now, ready.count,
                    in_flight=group.pending,
                    unknown_reason=ready.reason,
                    oldest_at=parse.moment(oldest.get(index), now),
                    published_total=stream.added,
                    delivered_total=ready.rank,
                    settled_total=None if ready.rank is None else max(0, ready.rank - group.pending),
                    members=members.get(index, group.consumers),
                    container=stream.name,
                    subscriptions=(stream.name,),
                )
            )  # fmt: skip
        self._news.forget(keep={(parse.shown(group.name), stream.name) for stream, group in asked})
        self._readers = [one for one in known.values() if one.members is not None and self._news.is_news(one)]
        return samples

    async def _oldest(self, waiting: Sequence[tuple[Stream, Group, Ready]]) -> list[EntryId | None]:
        """The id, and with it the time, of the oldest entry that is not done: pending, else the next to be read."""
        commands: list[Command] = []
        for stream, group, ready in waiting:
            first = stream.first.id if stream.first else None
            if group.pending and first:
                # From the first entry on: pending ids before it were trimmed away and wait for nobody any more.
                commands.append(("XPENDING", stream.key, group.name, text(first), "+", 1))
            if ready.count != 0 and first and group.last_delivered >= first:
                commands.append(("XRANGE", stream.key, f"({text(group.last_delivered)}", "+", "COUNT", 1))
        answers = iter(await self._client.ask(commands))
        return [self._oldest_of(*one, answers) for one in waiting]

    def _oldest_of(self, stream: Stream, group: Group, ready: Ready, answers: Iterable[object]) -> EntryId | None:
        told, first = iter(answers), stream.first.id if stream.first else None
        found: list[EntryId | None] = []
        if group.pending and first:
            held = next(told)
            self._note(PENDING, held)
            found.append(parse.first_of(held))
        if ready.count != 0 and first and group.last_delivered >= first:
            answer = next(told)
            self._note(READ, answer)
            found += [entry.id for entry in parse.entries(answer)]
        elif ready.count:
            found.append(first)
        return min((one for one in found if one is not None), default=None)

    async def _members(
        self, asked: Sequence[tuple[Stream, Group]], waiting: set[int], now: datetime
    ) -> dict[int, GroupMembers]:
        """Consumers of the groups that have something to do, that got more or fewer, or that were not asked for lately.

        How many of them are there is told only of the first: where nothing waits, a blocked reader can't be told from
        one that left.
        """
        clock = time.monotonic()
        before, self._members_at = self._members_at, {}
        due = sorted((before.get((s.key, g.name), (0.0, -1))[0], i) for i, (s, g) in enumerate(asked))
        share = max(1, int(len(asked) * self.seconds / MEMBERS_SECONDS) + 1)
        turn = {i for at, i in due[:share] if clock - at >= MEMBERS_SECONDS}
        chosen = []
        for i, (stream, group) in enumerate(asked):
            key = stream.key, group.name
            at, many = before.get(key, (0.0, group.consumers))
            if i in waiting or i in turn or many != group.consumers:
                chosen.append(i)
                at = clock
            self._members_at[key] = at, group.consumers
        commands: list[Command] = [("XINFO", "CONSUMERS", asked[i][0].key, asked[i][1].name) for i in chosen]
        answers = await self._client.ask(commands)
        return {
            i: GroupMembers(
                self.name,
                self.system,
                parse.shown(asked[i][1].name),
                now,
                parse.consumers(answer, now),
                destination=asked[i][0].name,
            )
            for i, answer in zip(chosen, answers, strict=True)
        }

    def _note(self, right: str, answer: object) -> None:
        denied = isinstance(answer, Refusal) and answer.code == "NOPERM"
        if denied or self._rights[right] == "unknown":
            self._rights[right] = "denied" if denied else "allowed"

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
                cursors=self.cursors,
            )
        )

    def _remarks(self) -> list[str]:
        said = []
        if self._rights[LIST] == "denied":
            said.append("Not allowed to list streams: allow +scan, or name them in the URL with ?streams=a+b.")
        if self._unseen:
            names = ", ".join(sorted(self._unseen)[:5])
            said.append(
                f"{len(self._unseen)} streams can't be seen ({names}): allow +xinfo and their keys (%R~pattern)."
            )
        if self._rights[PENDING] == "denied":
            said.append("The age of pending entries is unknown: allow +xpending.")
        if self._rights[READ] == "denied":
            said.append("Entries may not be read, so dead letters and ages are unknown: allow +xrange.")
        if self._lost:
            total = sum(self._lost.values())
            said.append(f"{total:,} entries were trimmed before {', '.join(sorted(self._lost)[:5])} had read them.")
        return said
