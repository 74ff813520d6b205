"""Fills what a letter's headers left open from the span that failed: service, error, stack. Facts stay."""

from datetime import datetime

from eventflow.domain.flow import Flow
from eventflow.domain.letter_flow import delivery_of
from eventflow.live import news
from eventflow.store.models import DeadLetter
from eventflow.store.queries import dead_letters as reads
from eventflow.store.queries import flows
from eventflow.store.record import dead_letter as record

EVIDENCE = "span of the failed attempt"


TRIES = 3
"""Spans arrive within seconds of the letter or not at all."""
AT_ONCE = 30


class HoleFiller:
    """Looks at each letter a few times, then leaves it be."""

    def __init__(self) -> None:
        self._tries: dict[int, int] = {}

    def fill(self, now: datetime) -> int:
        """Look at letters with holes that arrived a moment ago. Returns how many were filled."""
        lacking = reads.with_holes(now)
        self._tries = {letter.pk: self._tries.get(letter.pk, 0) for letter in lacking}
        filled = 0
        topics: set[str] = set()
        for letter in [each for each in lacking if self._tries[each.pk] < TRIES][:AT_ONCE]:
            self._tries[letter.pk] += 1
            flow = flows.flow(record.flow_key(letter), now)
            found = _fill(letter, flow) if flow else set()
            filled += bool(found)
            topics |= found
        news.publish(topics)
        return filled


def _fill(letter: DeadLetter, flow: Flow) -> set[str]:
    delivery = delivery_of(flow, str(letter.pk))
    if delivery is None:
        return set()
    error = delivery.error
    return record.enrich(
        letter.pk,
        service=delivery.service,
        error_type=error.name if error else "",
        error_message=error.text if error else "",
        stack=error.stack if error else "",
        evidence=EVIDENCE,
    )
