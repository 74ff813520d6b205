"""Handing a request on until it is durable, and reading it off the event loop: every failure becomes a refusal.

A sender never sees an internal error: it would drop what it could have sent again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from collectors.base import CollectorError, Emit
from collectors.receiving.errors import BadRequestError, OverloadedError, RefusedError
from eventflow.domain.observations import Observation

T = TypeVar("T")
log = logging.getLogger(__name__)

IN_A_THREAD = 256 * 1024
"""From this size on, parsing would hold up the event loop for longer than a few requests take."""
PARSED_WEIGHT = 4
"""How many times a body's size its spans are counted for in memory, besides the body."""
EMIT_SECONDS = 8.0


def utcnow() -> datetime:
    """The wall clock; tests give their own."""
    return datetime.now(UTC)


async def offer(emit: Emit, batch: Sequence[Observation], seconds: float = EMIT_SECONDS) -> None:
    """Returns once `batch` is durable. Raises OverloadedError for whatever keeps it from that."""
    try:
        async with asyncio.timeout(seconds):
            await emit(batch)
    except TimeoutError as error:
        raise OverloadedError("storing took too long; send this again", retry_seconds=2) from error
    except CollectorError as error:
        raise OverloadedError("it cannot be stored now; send this again", retry_seconds=5) from error
    except Exception as error:
        log.exception("storing a request failed")
        raise OverloadedError("it cannot be stored now; send this again", retry_seconds=5) from error


async def parsed(size: int, work: Callable[[], T]) -> T:
    """What `work` makes of a body of `size` bytes. Raises RefusedError only."""
    try:
        return await asyncio.to_thread(work) if size >= IN_A_THREAD else work()
    except RefusedError:
        raise
    except Exception as error:
        # A mistake of ours in reading this body: sending it again would meet it again.
        log.exception("reading a request failed")
        raise BadRequestError("the request cannot be read") from error
