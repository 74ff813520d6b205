"""Looks at one NATS server: streams, subjects, durable consumers' lag, dead letters, and what we are allowed to see.

Promises: one cycle asks for lists, then for single messages by sequence; nothing changes on the server by it. What
can't be seen is said in the status, with the right that is missing. Ephemeral consumers are left out: they come and go.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from collectors.base import CollectorError, Emit, poll
from collectors.conventions import dead_letters
from collectors.cost import Cost
from collectors.members import MemberNews
from collectors.nats import parse
from collectors.nats.client import Client, GoneError, NotAllowedError
from collectors.nats.letters import ADVISORY_SUBJECTS, Letters, Look
from collectors.nats.places import Finder, Known, Place, Stream
from eventflow.domain.observations import DestinationSample, Observation, SourceStatus

POLL_SECONDS = 2.0
MAX_SUBJECTS = 1000
"""Streams with more subjects (or key-value buckets) are told whole, not subject by subject."""
MAX_FILTERS = 8

LIST, CONSUMERS, READ, ADVISORIES = "list streams", "list consumers", "read messages", "hear advisories"


class NatsCollector:
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
        self._letters = Letters(name, self._finder, resume, correlation_keys=correlation_keys)
        self._rights: dict[str, str] = {}
        self._positions: dict[tuple[str, str], tuple[object, datetime | None]] = {}
        """Where each consumer stood, and when its oldest waiting message was stored."""
        self._listening: set[str] = set()
        self._crowded: set[str] = set()
        self._news = MemberNews()

    @property
    def cursors(self) -> Mapping[str, int]:
        """How far letters and advisories were read and stored; give it as `resume` to go on from there."""
        return dict(self._letters.cursors)

    async def run(self, emit: Emit) -> None:
        """Observe until cancelled."""
        self._rights = dict.fromkeys((LIST, CONSUMERS, READ), "unknown")
        self._listening.clear()
        self._news.forget()
        self.forget_positions()
        try:
            await self._client.connect()
            await self._probe_reading()
            await poll(lambda: self._cycle(emit), self.seconds)
        finally:
            await self._client.close()

    async def _probe_reading(self) -> None:
        """Whether single messages may be read: asked of a stream that need not exist."""
        self._rights[READ] = "allowed"
        try:
            await self._client.message("eventflow-permission-probe", 1)
        except NotAllowedError:
            self._rights[READ] = "denied"

    async def _cycle(self, emit: Emit) -> None:
        cost = Cost(self._client)
        self._client.check()
        streams, server_now = await self._streams(emit)
        now = _now()
        consumers = await self._consumers(streams)
        places = await self._places(streams)
        samples: list[Observation] = [*self._destinations(streams, places, now)]
        samples += await self._lags(streams, consumers, now)
        if samples:
            await emit(samples)
        await self._listen(streams)
        if self._rights[READ] != "denied":
            try:
                await self._letters.read(
                    Look(self._client, streams, places, _known(streams, consumers), emit, now, server_now or now)
                )
            except NotAllowedError:
                self._rights[READ] = "denied"
        await emit([self._status("ok", cost)])

    # What the server tells

    async def _streams(self, emit: Emit) -> tuple[list[Stream], datetime | None]:
        cost = Cost(self._client)
        try:
            found = await self._client.streams()
        except NotAllowedError as refusal:
            self._rights[LIST] = "denied"
            await emit([self._status("blind", cost)])
            raise CollectorError(f"can't list streams: {refusal}") from None
        self._rights[LIST] = "allowed"
        streams = await asyncio.gather(*(self._stream(info) for info in found))
        return list(streams), parse.moment(found[0].get("ts")) if found else None

    async def _stream(self, info: Mapping[str, Any]) -> Stream:
        config, state = info.get("config") or {}, info.get("state") or {}
        name, subjects = str(config.get("name", "")), None
        inner = any(str(subject).startswith("$") for subject in config.get("subjects") or [])
        many = int(state.get("num_subjects") or 0) > MAX_SUBJECTS
        (self._crowded.add if many and not inner else self._crowded.discard)(name)
        if not inner and not many and state.get("num_subjects"):
            try:
                subjects = await self._client.subjects(name)
            except (NotAllowedError, GoneError):
                subjects = None
        return Stream(name, config, state, subjects, str(info.get("created", "")))

    async def _consumers(self, streams: list[Stream]) -> dict[str, list[dict[str, Any]]]:
        async def of(stream: Stream) -> list[dict[str, Any]]:
            try:
                found = await self._client.consumers(stream.name)
            except NotAllowedError:
                self._rights[CONSUMERS] = "denied"
                return []
            except GoneError:
                return []
            if self._rights[CONSUMERS] == "unknown":
                self._rights[CONSUMERS] = "allowed"
            return [consumer for consumer in found if parse.durable(consumer)]

        read = [stream for stream in streams if stream.state.get("consumer_count")]
        if streams and not read and self._rights[CONSUMERS] == "unknown":
            read = streams[:1]
        return dict(zip((s.name for s in read), await asyncio.gather(*map(of, read)), strict=True))

    async def _places(self, streams: list[Stream]) -> list[Place]:
        if self._rights[READ] == "denied":
            return []
        try:
            return await self._finder.places(self._client, streams)
        except NotAllowedError:
            self._rights[READ] = "denied"
            return []

    async def _listen(self, streams: list[Stream]) -> None:
        """Hear the advisories that no stream of the operator's keeps; the right matters only then."""
        for prefix in ADVISORY_SUBJECTS:
            if prefix in self._listening or any(s.captures(prefix) and not s.copied for s in streams):
                continue
            self._rights.setdefault(ADVISORIES, "unknown")
            allowed = await self._client.subscribe(f"{prefix}>", self._letters.hear)
            self._listening.add(prefix)
            self._rights[ADVISORIES] = "allowed" if allowed and self._rights[ADVISORIES] != "denied" else "denied"

    # What becomes of it

    def _destinations(self, streams: list[Stream], places: list[Place], now: datetime) -> list[DestinationSample]:
        samples: list[DestinationSample] = []
        for stream in streams:
            if stream.patterns and all(pattern.startswith("$") for pattern in stream.patterns):
                continue  # JetStream's own events, key-value buckets, object stores: no place for messages
            here = [place for place in places if place.stream is stream]
            whole, counts = next((place for place in here if place.pattern == ">"), None), stream.subjects or {}
            at = {subject: next((p for p in here if p.holds(stream, subject)), None) for subject in counts}
            of = {subject: self._finder.letters_of(place, subject) for subject, place in at.items() if place}
            all_of = tuple(sorted({name for names in of.values() for name in names}))
            # Of a stream that holds letters only, the stream itself tells what becomes of them, once.
            dead_stream = whole is not None or (bool(counts) and all(of.get(subject) for subject in counts))
            samples.append(
                DestinationSample(
                    self.name, self.system, stream.name, "stream", now,
                    messages=parse.integer(stream.state.get("messages")),
                    size_bytes=parse.integer(stream.state.get("bytes")),
                    published_total=stream.last_seq,
                    dead_letters_of=(all_of or (whole and self._finder.letters_of(whole, stream.name)) or ())
                    if dead_stream else (),
                    dead_letter_certainty=(whole or here[0]).certainty if dead_stream else None,
                    letters_lost=stream.letters_lost if dead_stream else None,
                    kept_seconds=stream.kept_seconds if dead_stream else None,
                    kept_messages=stream.kept_messages if dead_stream else None,
                    oldest_at=stream.first_at if dead_stream else None,
                )
            )  # fmt: skip
            for subject, count in counts.items():
                place, dead = at[subject], of.get(subject, ())
                samples.append(
                    DestinationSample(
                        self.name, self.system, subject, "subject", now, messages=count, container=stream.name,
                        published_total=parse.published_total(stream.state, counts, (subject,)),
                        dead_letters_of=dead, dead_letter_certainty=place.certainty if place and dead else None,
                        letters_lost=stream.letters_lost if dead and not dead_stream else None,
                        kept_seconds=stream.kept_seconds if dead and not dead_stream else None,
                    )
                )  # fmt: skip
        return samples

    async def _lags(
        self, streams: list[Stream], consumers: Mapping[str, list[dict[str, Any]]], now: datetime
    ) -> list[Observation]:
        pairs = [(stream, consumer) for stream in streams for consumer in consumers.get(stream.name, ())]
        there = {(stream.name, str(consumer.get("name", ""))) for stream, consumer in pairs}
        self._positions = {key: known for key, known in self._positions.items() if key in there}
        oldest = await asyncio.gather(*(self._oldest(stream, consumer) for stream, consumer in pairs))
        lags = [
            parse.lag(
                self.name,
                {"config": stream.config, "state": stream.state},
                consumer,
                at=now,
                oldest_at=at,
                counts=stream.subjects,
            )
            for (stream, consumer), at in zip(pairs, oldest, strict=True)
        ]
        readers = [parse.readers(self.name, lag, pair[1]) for lag, pair in zip(lags, pairs, strict=True)]
        self._news.forget(keep={(lag.group, lag.destination) for lag in lags})
        return [*lags, *(found for found in readers if self._news.is_news(found))]

    async def _oldest(self, stream: Stream, consumer: Mapping[str, Any]) -> datetime | None:
        """When the oldest message not done by this consumer was stored: one read per filter, only if one waits."""
        group = str(consumer.get("name", ""))
        self._letters.forget_below(stream.name, group, int((consumer.get("ack_floor") or {}).get("stream_seq") or 0))
        start = parse.waiting_position(consumer, self._letters.given_up.get((stream.name, group), set()))
        patterns = parse.filters(consumer) or (">",)
        if start is None or self._rights[READ] == "denied" or len(patterns) > MAX_FILTERS:
            return None
        # A stored message never changes: as long as none was dropped or deleted, the answer is the one of last time.
        stands = (start, patterns, stream.created, stream.state.get("first_seq"), stream.state.get("num_deleted"))
        known = self._positions.get((stream.name, group))
        if known is not None and known[0] == stands:
            return known[1]
        try:
            found = [await self._client.message(stream.name, start, p, direct=stream.direct) for p in patterns]
        except NotAllowedError:
            self._rights[READ] = "denied"
            return None
        oldest = min((message.stored_at for message in found if message and message.stored_at), default=None)
        self._positions.pop((stream.name, group), None)
        if None not in found:  # what comes later on a pattern without a message would be missed
            self._positions[stream.name, group] = (stands, oldest)
        return oldest

    def forget_positions(self) -> None:
        """Ask for each consumer's oldest message again, as if all had moved."""
        self._positions.clear()

    def _status(self, state: str, cost: Cost) -> SourceStatus:
        return cost.on(
            SourceStatus(
                self.name,
                self.system,
                state,
                _now(),
                message=" ".join(self._remarks()),
                address=self._client.address.shown,
                rights=dict(self._rights),
                cursors=self.cursors,
            )
        )

    def _remarks(self) -> list[str]:
        api = self._client.address.api
        said = []
        if self._rights[LIST] == "denied":
            said.append(f"Not allowed to list streams: allow publishing on {api}.STREAM.LIST.")
        if self._rights[CONSUMERS] == "denied":
            said.append(f"Some consumers can't be seen: allow publishing on {api}.CONSUMER.LIST.*.")
        if self._rights[READ] == "denied":
            said.append(
                "Messages may not be read, so dead letters and ages are unknown: "
                f"allow publishing on {api}.STREAM.MSG.GET.*."
            )
        if self._rights.get(ADVISORIES) == "denied":
            said.append("Given-up messages can't be heard: allow subscribing to $JS.EVENT.ADVISORY.CONSUMER.>.")
        elif self._listening:
            said.append(
                "Given-up messages are heard only while connected: "
                "a stream on $JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.> and …MSG_TERMINATED.> would keep them."
            )
        if self._crowded:
            names = ", ".join(sorted(self._crowded)[:5])
            said.append(f"Streams with more than {MAX_SUBJECTS} subjects are told whole, not by subject: {names}.")
        if self._letters.missed:
            said.append(f"{self._letters.missed} advisories were dropped because too many waited.")
        return said


def _known(streams: list[Stream], consumers: Mapping[str, list[dict[str, Any]]]) -> Known:
    groups = {str(consumer.get("name")) for found in consumers.values() for consumer in found}
    subjects = {subject for stream in streams for subject in stream.subjects or ()}
    ordinary = {subject for subject in subjects if dead_letters.named_like_dead_letters(subject) is None}
    return Known(groups, ordinary)


def _now() -> datetime:
    return datetime.now(UTC)
