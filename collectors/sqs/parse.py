"""What SQS answers → queues and what redrives into what. Pure; anything missing or odd is unknown, never zero."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SYSTEM = "aws_sqs"
VISIBLE = "ApproximateNumberOfMessages"
IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
DELAYED = "ApproximateNumberOfMessagesDelayed"


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue as its attributes tell it."""

    name: str
    url: str
    ready: int | None
    in_flight: int | None
    delayed: int | None
    fifo: bool
    dead_letters: str | None
    """The queue that its redrive policy names."""
    max_receives: int | None
    retention_seconds: int | None


def queue(url: str, attributes: Mapping[str, str]) -> Queue:
    """A queue and its numbers."""
    target, receives = _redrive(attributes.get("RedrivePolicy", ""))
    name = name_of(url)
    return Queue(
        name,
        url,
        number(attributes.get(VISIBLE)),
        number(attributes.get(IN_FLIGHT)),
        number(attributes.get(DELAYED)),
        fifo=name.endswith(".fifo"),
        dead_letters=target,
        max_receives=receives,
        retention_seconds=number(attributes.get("MessageRetentionPeriod")),
    )


def lost_letters(queues: Sequence[Queue], *, whole: bool) -> dict[str, str]:
    """Queue → why its dead letters can't arrive, or, at a dead-letter queue, can't stay. `whole`: these are all."""
    by_name = {queue.name: queue for queue in queues}
    found: dict[str, str] = {}
    for one in queues:
        target = by_name.get(one.dead_letters) if one.dead_letters else None
        if target is None:
            if one.dead_letters and whole:
                found[one.name] = f"its redrive policy names queue {one.dead_letters}, which is not there"
            continue
        kept, before = target.retention_seconds, one.retention_seconds
        if kept is not None and before is not None and kept < before and not one.fifo:
            found[target.name] = (
                f"it keeps messages for {kept / 3600:,.3g} h, {one.name} for {before / 3600:,.3g} h, "
                "counted from when they were first sent: late letters are dropped on arrival"
            )
    return found


def name_of(address: str) -> str:
    """The queue's name in its URL or ARN."""
    return address.rpartition(":" if address.startswith("arn:") else "/")[2]


def number(value: object) -> int | None:
    """A count; None for what is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def total(queue: Queue) -> int | None:
    """Everything the queue holds, when all of it is told."""
    parts = (queue.ready, queue.in_flight, queue.delayed)
    return None if any(part is None for part in parts) else sum(part or 0 for part in parts)


def _redrive(policy: str) -> tuple[str | None, int | None]:
    try:
        found = json.loads(policy)
    except ValueError:
        return None, None
    if not isinstance(found, dict):
        return None, None
    target = found.get("deadLetterTargetArn")
    return (name_of(target) if isinstance(target, str) and target else None), number(found.get("maxReceiveCount"))
