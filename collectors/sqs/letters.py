"""Takes letters out of dead-letter queues that an operator named with `?take=`: kept by us first, deleted then.

Loses nothing: a letter that could not be stored is let go of and lies in its queue again. A crash between storing and
deleting brings it again, as the same one. A queue that has a dead-letter queue of its own is left alone, for there each
look is counted and the letter would be moved on.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from collectors.base import Emit
from collectors.closing import closed
from collectors.conventions import dead_letters
from collectors.sqs.client import Client
from collectors.sqs.message import OWN, headers_of
from collectors.sqs.parse import SYSTEM, Queue, name_of, number
from eventflow.domain.observations import DeadLetter

PAGE = 10
PAGES_A_CYCLE = 20
HOLD_SECONDS = 60
"""How long a letter is hidden from others while we store it."""


def why_not(queue: Queue) -> str | None:
    """Why letters of this queue may not be taken; None when they may."""
    if queue.dead_letters:
        return f"moves what is looked at often to {queue.dead_letters}"
    return None


async def take(client: Client, queue: Queue, emit: Emit, read: Callable[[Any], DeadLetter]) -> None:
    """Take what lies there, page by page; a page is deleted when `emit` returned."""
    for _ in range(PAGES_A_CYCLE):
        answer = await client.ask(
            "receive_message",
            QueueUrl=queue.url,
            MaxNumberOfMessages=PAGE,
            VisibilityTimeout=HOLD_SECONDS,
            WaitTimeSeconds=0,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages") or []
        if not messages:
            return
        try:
            await emit([read(message) for message in messages])
        except BaseException:
            await closed(client.ask("change_message_visibility_batch", **_batch(queue, messages, VisibilityTimeout=0)))
            raise
        await client.ask("delete_message_batch", **_batch(queue, messages))


def _batch(queue: Queue, messages: Sequence[Any], **more: Any) -> dict[str, Any]:
    entries = [{"Id": str(i), "ReceiptHandle": one["ReceiptHandle"], **more} for i, one in enumerate(messages)]
    return {"QueueUrl": queue.url, "Entries": entries}


def letter(
    message: Any, queue: str, source: str, now: datetime, *, keys: Sequence[str], of: Sequence[str]
) -> DeadLetter:
    """A message as a letter. `of`: the queues whose redrive policy names this one."""
    headers = headers_of(message)
    told = {name[len(OWN) :]: value for name, value in headers if name.startswith(OWN)}
    failure = dead_letters.read(headers, known=True, correlation_keys=keys)
    fields, evidence = failure.fields, failure.evidence

    def put(role: str, value: object, why: str) -> None:
        if value is not None and not fields.get(role):
            fields[role], evidence[role] = value, why

    origin = told.get("DeadLetterQueueSourceArn")
    if origin:
        put("destination", name_of(origin), "attribute DeadLetterQueueSourceArn")
    elif len(of) == 1 and of[0] != "*":
        put("destination", of[0], f"the redrive policy of {of[0]}"[: dead_letters.MAX_FIELD_CHARS])
    if fields.get("destination"):
        put("group", fields["destination"], "a queue's readers are one group")
    put("message_id", message.get("MessageId"), "MessageId")
    put("key", told.get("MessageGroupId"), "attribute MessageGroupId")
    put("published_at", dead_letters.instant(told.get("SentTimestamp", "")), "attribute SentTimestamp")
    first = "ApproximateFirstReceiveTimestamp"
    put("failed_at", dead_letters.instant(told.get(first, "")), f"attribute {first}: its first receive")
    if (receives := number(told.get("ApproximateReceiveCount"))) is not None:
        put("attempts", max(0, receives - 1), "attribute ApproximateReceiveCount, without ours")
    fields["convention"] = fields["convention"] or "Amazon SQS redrive policy"
    kept, cut = dead_letters.capped(headers)
    if cut:
        evidence["headers"] = cut
    body = str(message.get("Body", "")).encode("utf-8", "surrogatepass")
    return DeadLetter(
        source, SYSTEM, queue, str(message.get("MessageId", "")), now, **fields, evidence=evidence,
        headers=kept, payload=body, payload_size=len(body),
    )  # fmt: skip
