"""Takes letters out of dead-letter queues that an operator named with `?take=`: kept by us first, acknowledged then.

Loses nothing: a letter that could not be stored goes back to its queue. A queue where that counts as a delivery with a
limit is left alone, for the broker would drop the letter in the end. A crash between storing and acknowledging brings
the letter again: it is the same one if it has a message id, else a second one.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from collectors.base import Emit
from collectors.conventions import dead_letters
from collectors.rabbitmq.amqp import PROPERTY, Amqp, headers_of
from collectors.rabbitmq.parse import SYSTEM, Queue
from eventflow.domain.observations import DeadLetter

PAGE = 50
PAGES_A_CYCLE = 10
MAX_PAYLOAD = 16 * 1024 * 1024
"""A taken letter is nowhere else any more: it is kept whole. A larger one stays in its queue."""


def why_not(queue: Queue, version: str) -> str | None:
    """Why letters of this queue may not be taken; None when they may."""
    if queue.kind == "stream":
        return "is a stream"
    major = version.partition(".")[0]
    unlimited = "delivery-limit" not in queue.settings and major.isdigit() and int(major) < 4
    if queue.kind == "quorum" and not unlimited:
        return "has a delivery limit, which could drop letters while they can't be stored"
    return None


async def take(amqp: Amqp, queue: str, emit: Emit, read: Callable[[Any], DeadLetter]) -> None:
    """Take what lies there, page by page; a page is acknowledged when `emit` returned."""
    for _ in range(PAGES_A_CYCLE):
        messages = await amqp.take(queue, PAGE)
        kept = [message for message in messages if len(message.body) <= MAX_PAYLOAD]
        if kept:
            await emit([read(message) for message in kept])
            await amqp.settle(kept)
        if len(kept) < len(messages):
            await amqp.close()  # they go back
            return
        if len(messages) < PAGE:
            return


def letter(
    message: Any, queue: str, source: str, now: datetime, *, keys: Sequence[str], queues: Collection[str]
) -> DeadLetter:
    """A message as a letter: `x-death` and the application's own headers tell what failed. `queues`: all there are."""
    headers = headers_of(message)
    failure = dead_letters.read(headers, known=True, correlation_keys=keys)
    fields, evidence = failure.fields, failure.evidence
    for role, name in (
        ("correlation_id", "correlation_id"),
        ("message_id", "message_id"),
        ("event_type", "type"),
        ("content_type", "content_type"),
        ("service", "app_id"),
    ):
        value = dict(headers).get(f"{PROPERTY}{name}")
        if value and not fields.get(role):
            fields[role], evidence[role] = value[: dead_letters.MAX_FIELD_CHARS], f"property {name}"
    group = fields.get("group")
    if group in queues and fields.get("destination") not in queues:
        # Where it can be put back for this group alone; the routing key would reach every queue bound alike.
        fields["destination"], evidence["destination"] = group, f"queue of the group, by {evidence['group']}"
    fields["convention"] = fields["convention"] or "none (by name)"
    kept, cut = dead_letters.capped(headers)
    if cut:
        evidence["headers"] = cut
    seen = hashlib.sha256(repr((message.body, headers)).encode()).hexdigest()[:24]
    position = seen if message.message_id else f"{seen}-{uuid4().hex[:8]}"
    return DeadLetter(
        source, SYSTEM, queue, position, now, **fields, evidence=evidence,
        headers=kept, payload=message.body, payload_size=len(message.body),
    )  # fmt: skip
