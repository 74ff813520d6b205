"""Sends what is queued: claim (committed) → send → note the position. One send for one claim, never a second by itself.

A process that dies between claim and note leaves `sending`; `adopt` makes that `unknown`, which a person has to judge.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Protocol

import collectors
from collectors.base import CollectorError, Outgoing, Replayer
from collectors.conventions import dead_letters
from eventflow.domain import replay as ledger
from eventflow.domain.replay_headers import outgoing
from eventflow.domain.replay_pace import pace
from eventflow.live import news
from eventflow.store import spans
from eventflow.store.models import Replay, ReplayItem
from eventflow.store.queries import replays as reads
from eventflow.store.record import replay as ledger_rows
from eventflow.worker import described, sources
from eventflow.worker.replay_span import Sending, new_context, replay_span, traceparent

SEND_TIMEOUT_SECONDS = 10.0
LEASE_SECONDS = 60.0
"""Well over SEND_TIMEOUT_SECONDS: a sender that lost its lease has stopped trying."""
log = logging.getLogger(__name__)


class Connect(Protocol):
    """How to reach the broker behind a source's name: `collectors.replayer` with the URL filled in."""

    def __call__(self, source: str) -> Replayer | None: ...


def configured(source: str) -> Replayer | None:
    """The replayer of a configured source."""
    for known in described.configured():
        if known.name == source:
            return collectors.replayer(known.name, known.url)
    raise CollectorError(f"source {source} is not configured any more", permanent=True)


def utc_now() -> datetime:
    return datetime.now(UTC)


def adopt(now: datetime, lease_seconds: float = LEASE_SECONDS) -> set[str]:
    """Say of every send whose sender is gone that its outcome is unknown."""
    topics: set[str] = set()
    for pk in ledger_rows.orphans(now, lease_seconds):
        if found := ledger_rows.observe(pk, ledger.Interrupted(), now):
            topics |= found
            if item := reads.item(pk):
                _log_span(item, item.claimed_at or now, now, "Eventflow stopped while sending")
    return topics


def send_queued(connect: Connect = configured, clock: Callable[[], datetime] = utc_now) -> int:
    """Send what the pace of every running replay allows now. Returns how many went out."""
    news.publish(adopt(clock()))
    count = 0
    with Lines(connect) as lines:
        for replay in reads.running():
            count += _send_replay(replay, lines, clock)
    return count


def _send_replay(replay: Replay, lines: "Lines", clock: Callable[[], datetime]) -> int:
    decision = pace(reads.progress(replay.pk, clock()), replay.rate_per_second, clock())
    if decision.stop:
        _, topics = ledger_rows.call_off(replay.pk, state="stopped", note=decision.stop, now=clock())
        news.publish(topics)
        return 0
    sent = 0
    for item in reads.queued(replay.pk, decision.send):
        if lines.is_down(item.letter.source):
            continue
        sent += _send_item(item, replay, lines, clock)
    return sent


def _send_item(item: ReplayItem, replay: Replay, lines: "Lines", clock: Callable[[], datetime]) -> bool:
    """One message; True when the broker took it."""
    source = item.letter.source
    try:
        replayer = lines.to(source)
    except CollectorError as error:
        if error.permanent and _claim(item, clock()):
            _tell(item, ledger.Declined(str(error), permanent=True, reached=False), clock())
        elif not error.permanent:
            lines.mark_down(source)
        return False
    if not _claim(item, clock()):
        return False
    started = clock()
    try:
        position = lines.run(_send(replayer, _message(item)))
    except CollectorError as error:
        if not error.reached and not error.permanent:
            lines.mark_down(source)
        declined = ledger.Declined(str(error), permanent=error.permanent, reached=error.reached)
    except TimeoutError:
        declined = ledger.Declined("The broker did not answer in time", permanent=False, reached=True)
    except Exception:  # whatever it was, the message may be out: say so rather than leave it to the lease
        log.exception("sending a replay to %s failed unexpectedly", source)
        declined = ledger.Declined("Sending failed unexpectedly; the log says more", permanent=False, reached=True)
    else:
        _tell(item, ledger.Accepted(position), clock())
        _log_span(item, started, clock(), "", replay.created_by_name)
        return True
    _tell(item, declined, clock())
    if declined.permanent or declined.reached:
        _log_span(item, started, clock(), declined.message, replay.created_by_name)
    return False


def _claim(item: ReplayItem, now: datetime) -> bool:
    item.trace_id, item.span_id = new_context()
    return ledger_rows.claim(item.pk, trace_id=item.trace_id, span_id=item.span_id, now=now)


def _tell(item: ReplayItem, evidence: ledger.Evidence, now: datetime) -> None:
    news.publish(ledger_rows.observe(item.pk, evidence, now))


async def _send(replayer: Replayer, message: Outgoing) -> str:
    return await asyncio.wait_for(replayer.send(message), SEND_TIMEOUT_SECONDS)


def _message(item: ReplayItem) -> Outgoing:
    letter = item.letter
    pairs = [(str(name), str(value)) for name, value in letter.headers]
    partition = dead_letters.read(pairs).partition
    return Outgoing(
        destination=item.destination,
        group=item.consumer_group or None,
        headers=outgoing(pairs, item.token, traceparent(item.trace_id, item.span_id)),
        payload=bytes(letter.payload or b""),
        token=item.token,
        key=letter.key or None,
        partition=None if partition is None else str(partition),
    )


def _log_span(item: ReplayItem, started: datetime, ended: datetime, error: str, actor: str = "") -> None:
    letter = item.letter
    sending = Sending(
        trace_id=item.trace_id,
        span_id=item.span_id,
        system=letter.system,
        destination=item.destination,
        token=item.token,
        started_at=started,
        ended_at=ended,
        correlation_id=letter.correlation_id,
        message_id=letter.message_id,
        failed_trace_id=letter.trace_id,
        failed_span_id=letter.span_id,
        body_size=letter.payload_size,
        error=error,
        actor=actor,
        replay=str(item.replay_id),
    )
    try:
        spans.append([replay_span(sending, ended)])
    except spans.StoreBusy:
        # The ledger holds what happened; only the picture of the flow lacks a span.
        log.warning("the span of a replay could not be kept: the store is busy")


class Lines:
    """The connections of one round, each made when first needed and given back at its end."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._runner = asyncio.Runner()
        self._made: dict[str, Replayer | CollectorError] = {}
        self._down: set[str] = set()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        for made in self._made.values():
            if not isinstance(made, CollectorError):
                try:
                    self._runner.run(asyncio.wait_for(made.close(), SEND_TIMEOUT_SECONDS))
                except (CollectorError, TimeoutError) as error:
                    log.warning("a replay connection did not close: %s", error)
        self._runner.close()

    def mark_down(self, source: str) -> None:
        """Do not try this source again in this round: each try may take a timeout."""
        self._down.add(source)

    def is_down(self, source: str) -> bool:
        return source in self._down

    def run(self, work: Coroutine[object, object, str]) -> str:
        """Wait for a piece of asynchronous work."""
        return self._runner.run(work)

    def to(self, source: str) -> Replayer:
        """The replayer of `source`. Raises what connecting raised, once more each time."""
        if source not in self._made:
            try:
                made = self._connect(source)
                self._made[source] = made or CollectorError(f"{source} cannot take messages back", permanent=True)
            except CollectorError as error:
                self._made[source] = error
            except sources.SourceError as error:
                self._made[source] = CollectorError(str(error), permanent=True)
        found = self._made[source]
        if isinstance(found, CollectorError):
            raise found
        return found
