"""Watches what became of replayed messages: a consumer's span, the letter's return, or a drained group and silence.

Evidence only; it sends nothing. Returns are seen when the letter is recorded (store/record/dead_letter).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from eventflow.domain import replay as ledger
from eventflow.domain.observations import Span, SpanKind, SpanStatus
from eventflow.live import news
from eventflow.store import spans as engine
from eventflow.store.models import ReplayItem
from eventflow.store.queries import replays as reads
from eventflow.store.record import replay as ledger_rows

QUIET_SECONDS = 60.0
"""So long after sending, a drained group without a returned letter counts as processed."""
UNSEEN_SECONDS = 15 * 60.0
ConsumersOf = Callable[[str, str], Sequence[Span]]


def utc_now() -> datetime:
    return datetime.now(UTC)


def observe(look: ConsumersOf = engine.consumers_of, clock: Callable[[], datetime] = utc_now) -> int:
    """Judge every item that is on its way. Returns how many moved."""
    moved = 0
    topics: set[str] = set()
    now = clock()
    after = 0
    while page := reads.observable(now, after):
        after = page[-1].pk
        for item in page:
            for evidence in evidence_of(item, look(item.trace_id, item.span_id), now):
                if found := ledger_rows.observe(item.pk, evidence, now):
                    moved += 1
                    topics |= found
        news.publish(topics)
        topics = set()
    return moved


def evidence_of(item: ReplayItem, spans: Iterable[Span], now: datetime) -> list[ledger.Evidence]:
    """What is known of one item, oldest first; silence last."""
    seen = sorted((span for span in spans if is_delivery(span, item)), key=lambda span: span.end_ns)
    found: list[ledger.Evidence] = [
        ledger.Consumed(
            at=datetime.fromtimestamp(span.start_ns / 1e9, UTC),
            ok=span.status is not SpanStatus.ERROR,
            service=span.service,
        )
        for span in seen
    ]
    if not item.sent_at or item.state == "unknown":
        return found
    silent = (now - item.sent_at).total_seconds()
    letter = item.letter
    if silent >= QUIET_SECONDS and reads.drained(letter.source, item.destination, item.consumer_group, item.sent_at):
        found.append(ledger.Drained(silent))
    if silent >= UNSEEN_SECONDS:
        found.append(ledger.Unseen(silent))
    return found


def is_delivery(span: Span, item: ReplayItem) -> bool:
    """Whether a span is the target group processing the message, not another group and not a mere receive."""
    if span.kind is not SpanKind.CONSUMER and not (span.messaging and span.messaging.operation):
        return False
    messaging = span.messaging
    if messaging is not None:
        if messaging.operation in ("receive", "settle", "send", "create"):
            return False
        if messaging.group and item.consumer_group:
            return messaging.group == item.consumer_group
    return not item.letter.service or span.service == item.letter.service
