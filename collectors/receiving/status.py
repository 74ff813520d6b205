"""A receiver says again and again how it fares: silence means that it died, not that nothing came in."""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from collectors.base import CollectorError, Emit, poll
from collectors.receiving.durable import utcnow
from eventflow.domain.observations import SourceStatus

log = logging.getLogger(__name__)

STATUS_SECONDS = 10.0


async def tell(
    emit: Emit,
    name: str,
    system: str,
    *,
    address: str,
    counters: Counter[str],
    now: Callable[[], datetime] = utcnow,
) -> None:
    """Emit its status every few seconds, until cancelled."""

    async def once() -> None:
        try:
            await emit([_status(name, system, address, counters, now())])
        except CollectorError as error:
            log.warning("the status of %s could not be stored: %s", name, error)

    await poll(once, STATUS_SECONDS)


def _status(name: str, system: str, address: str, counters: Counter[str], at: datetime) -> SourceStatus:
    return SourceStatus(
        source=name,
        system=system,
        state="ok",
        at=at,
        address=address,
        calls=counters["requests"],
        received_bytes=counters["bytes"],
        counters=dict(counters),
    )
