"""Reads dead letters by sequence: what lies in dead-letter subjects, and what the broker's advisories tell.

Promises: reading creates no consumer and changes nothing; a cursor moves only after `emit` returned; a message that
lies in a dead-letter subject is not told a second time by the advisory about it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collectors.base import Emit
from collectors.conventions import dead_letters
from collectors.nats.client import Client, NotAllowedError
from collectors.nats.parse import SYSTEM, Advisory, Message, advisory
from collectors.nats.places import Finder, Known, Place, Stream
from eventflow.domain.observations import DeadLetter

MAX_PAYLOAD = 256 * 1024
PAGE = 50
READS_A_CYCLE = 500
GRACE = timedelta(seconds=5)
REREAD = 200
REMEMBERED = 100_000
HEARD_AT_MOST = 10_000

ADVISORY_SUBJECTS = tuple(f"$JS.EVENT.ADVISORY.CONSUMER.{kind}." for kind in ("MAX_DELIVERIES", "MSG_TERMINATED"))


@dataclass(frozen=True, slots=True)
class Look:
    """One cycle's look at the server. `server_now` is the server's own clock."""

    client: Client
    streams: Sequence[Stream]
    places: Sequence[Place]
    known: Known
    emit: Emit
    now: datetime
    server_now: datetime

    def stream(self, name: str) -> Stream | None:
        return next((stream for stream in self.streams if stream.name == name), None)


class Letters:
    """The reader. Lives as long as its collector: cursors and what was heard survive a lost connection."""

    def __init__(
        self,
        source: str,
        finder: Finder,
        resume: Mapping[str, int] | None = None,
        *,
        correlation_keys: Sequence[str] = (),
    ) -> None:
        self.cursors: dict[str, int] = {}
        # What the advisories are compared with is not kept over a restart: read the newest letters once more.
        for key, seq in (resume or {}).items():
            self.cursors[key] = max(0, seq - REREAD) if key.startswith("letters:") else seq
        self.given_up: dict[tuple[str, str], set[int]] = {}
        self.missed = 0
        self._source = source
        self._finder = finder
        self._keys = tuple(correlation_keys)
        self._named: dict[tuple[str, ...], None] = {}
        self._heard: deque[Advisory] = deque()

    # Reading

    async def read(self, look: Look) -> None:
        """Read on from the cursors, letters first, then the advisories that no letter explains."""
        budget = READS_A_CYCLE
        for place in look.places:
            budget = await self._read_place(look, place, budget)
        if budget <= 0:
            return
        for stream in look.streams:
            for prefix in ADVISORY_SUBJECTS:
                if stream.captures(prefix) and not stream.copied:
                    await self._read_advisories(look, stream, prefix)
        await self._tell_heard(look)

    async def _read_place(self, look: Look, place: Place, budget: int) -> int:
        stream, last = place.stream, place.stream.last_seq
        cursor = self.cursors.get(place.key, 0)
        if cursor > last:
            cursor = 0  # made anew: sequences began again
        while cursor < last and budget > 0:
            page: list[DeadLetter] = []
            reads = 0
            while cursor < last and reads < PAGE:
                message = await look.client.message(stream.name, cursor + 1, place.pattern, direct=stream.direct)
                reads += 1
                if message is None:
                    cursor = last
                    break
                cursor = message.seq
                if (letter := self._letter(message, place, look)) is not None:
                    page.append(letter)
            if page:
                await look.emit(page)
            self.cursors[place.key] = cursor
            budget -= reads
        return budget

    def _letter(self, message: Message, place: Place, look: Look) -> DeadLetter | None:
        failure = dead_letters.read(message.headers, known=not place.strict, correlation_keys=self._keys)
        if place.strict and not failure.proved:
            return None
        fields, evidence = failure.fields, failure.evidence
        origin = dead_letters.named_origin(message.subject)
        if origin and "group" not in fields and origin in look.known.groups:
            fields["group"], evidence["group"] = origin, f"name of {message.subject}"
        if origin and "destination" not in fields and origin in look.known.destinations:
            fields["destination"], evidence["destination"] = origin, f"name of {message.subject}"
        if "failed_at" not in fields and message.stored_at:
            fields["failed_at"], evidence["failed_at"] = message.stored_at, "time the letter was stored"
        group = fields.get("group") or ""
        if failure.container and failure.offset is not None:
            self._remember((failure.container, str(failure.offset), group))
        if fields.get("message_id"):
            self._remember(("id", fields["message_id"], fields.get("replay_token") or "", group))
        if named := {value for value in (fields.get("group"), fields.get("destination")) if value}:
            self._finder.learn(message.subject, named)
        fields["convention"] = fields["convention"] or "none (by name)"
        return self._dead_letter(message, (message.subject, str(message.seq)), look, fields, evidence)

    def _remember(self, key: tuple[str, ...]) -> None:
        self._named[key] = None
        while len(self._named) > REMEMBERED:
            del self._named[next(iter(self._named))]

    def _dead_letter(
        self,
        message: Message | None,
        lies: tuple[str, str],
        look: Look,
        fields: dict[str, Any],
        evidence: dict[str, str],
    ) -> DeadLetter:
        """`lies`: location and position."""
        if message is None:
            return DeadLetter(
                self._source, SYSTEM, *lies, look.now, **fields, evidence=evidence,
                payload_note="the message is no longer in the stream, or may not be read",
            )  # fmt: skip
        kept, cut = dead_letters.capped(message.headers)
        if cut:
            evidence["headers"] = cut
        size = len(message.data)
        note = None
        if size > MAX_PAYLOAD:
            note = (
                f"truncated: only the first {MAX_PAYLOAD // 1024} KiB of {size} bytes are kept; "
                "a replay must read the message from the broker again or refuse"
            )
        return DeadLetter(
            self._source, SYSTEM, *lies, look.now, **fields, evidence=evidence,
            headers=kept, payload=message.data[:MAX_PAYLOAD], payload_size=size, payload_note=note,
        )  # fmt: skip

    # Advisories

    def hear(self, data: bytes) -> None:
        """An advisory from the wire. It waits here until it was emitted; past a bound the oldest go and are counted."""
        if (found := advisory(data)) is not None:
            self._heard.append(found)
            self._note_given_up(found)
            if len(self._heard) > HEARD_AT_MOST:
                self._heard.popleft()
                self.missed += 1

    def _note_given_up(self, found: Advisory) -> None:
        self.given_up.setdefault((found.stream, found.consumer), set()).add(found.seq)

    def forget_below(self, stream: str, consumer: str, floor: int) -> None:
        """Given-up messages under the ack floor no longer matter for lag."""
        if kept := self.given_up.get((stream, consumer)):
            kept.difference_update({seq for seq in kept if seq <= floor})

    def _explained(self, found: Advisory) -> bool:
        """Whether a letter names this message by its stream and sequence."""
        return self._lies_there((found.stream, str(found.seq)), found.consumer)

    def _lies_there(self, message: tuple[str, ...], group: str) -> bool:
        return (*message, group) in self._named or (*message, "") in self._named

    async def _read_advisories(self, look: Look, stream: Stream, prefix: str) -> None:
        key = f"advisories:{stream.name}:{prefix.split('.')[-2]}"
        cursor, budget = self.cursors.get(key, 0), READS_A_CYCLE
        if cursor > stream.last_seq:
            cursor = 0
        while cursor < stream.last_seq and budget > 0:
            page: list[DeadLetter] = []
            early = False
            for _ in range(PAGE):
                budget -= 1
                message = await look.client.message(stream.name, cursor + 1, f"{prefix}>", direct=stream.direct)
                if message is None:
                    cursor = stream.last_seq
                    break
                if (found := advisory(message.data)) is not None:
                    self._note_given_up(found)
                    if not self._explained(found):
                        if early := self._too_early(found, look):
                            break
                        page += await self._given_up_letters(found, look)
                cursor = message.seq
            if page:
                await look.emit(page)
            self.cursors[key] = cursor
            if early:
                return

    @staticmethod
    def _too_early(found: Advisory, look: Look) -> bool:
        """Whether the application may still be about to write the letter that explains this advisory."""
        return found.at is not None and found.at + GRACE > look.server_now

    async def _tell_heard(self, look: Look) -> None:
        while self._heard:
            found = self._heard[0]
            if not self._explained(found):
                if self._too_early(found, look):
                    return
                if letters := await self._given_up_letters(found, look):
                    await look.emit(letters)
            if self._heard and self._heard[0] is found:
                self._heard.popleft()

    async def _given_up_letters(self, found: Advisory, look: Look) -> list[DeadLetter]:
        """The advisory with its message as one letter; none when a letter has the message's own id."""
        stream = look.stream(found.stream)
        try:
            message = await look.client.message(found.stream, found.seq, direct=bool(stream and stream.direct))
        except NotAllowedError:
            message = None
        failure = dead_letters.read(message.headers if message else (), correlation_keys=self._keys)
        own_id = ("id", failure.fields.get("message_id") or "", failure.fields.get("replay_token") or "")
        if own_id[1] and self._lies_there(own_id, found.consumer):
            return []
        word = "terminated" if found.terminated else "gave up"
        said = f"{word} after {found.deliveries} deliveries" if found.deliveries else word
        told: dict[str, Any] = {
            "destination": message.subject if message else None,
            "group": found.consumer,
            "attempts": found.deliveries,
            "failed_at": found.at,
            "error_type": None,
            "error_message": f"{said}: {found.reason}" if found.reason else said,
            "stack": None,
            "published_at": message.stored_at if message else None,
            "convention": "nats advisory",
        }
        evidence = {name: by for name, by in failure.evidence.items() if name not in told}
        evidence |= dict.fromkeys(("group", "attempts", "failed_at", "error_message"), "advisory of the broker")
        if message:
            evidence |= {"destination": "subject of the message", "published_at": "time it was stored"}
        # Two consumers can give up on the same message: each is a letter of its own.
        lies = (found.stream, f"{found.seq}/{found.consumer}")
        return [self._dead_letter(message, lies, look, failure.fields | told, evidence)]
