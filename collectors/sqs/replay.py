"""Sends a message to a queue again, once, on a person's word.

The receivers are the queue's readers, whoever they are: SQS knows no others. A FIFO queue gets the message in its old
group, with the attempt's token as deduplication id, so that sending the same attempt again stores nothing new.
"""

from typing import Any

from collectors.base import CollectorError, Outgoing, Receivers
from collectors.sqs.client import Client, GoneError, NotAllowedError
from collectors.sqs.message import GROUP, attributes_of

_OWN_GROUP = "eventflow"


class SqsReplayer:
    """Connects at first use."""

    def __init__(self, name: str, url: str) -> None:
        self._client = Client(url)
        self._open = False

    async def _connected(self) -> Client:
        if not self._open:
            await self._client.connect()
            self._open = True
        return self._client

    async def receivers(self, destination: str, group: str | None) -> Receivers:
        """The queue itself."""
        return Receivers((destination,), exact=group in (None, destination))

    async def send(self, message: Outgoing) -> str:
        """Send, and return the message id that SQS gave it."""
        attributes = attributes_of(message.headers, message.token)
        try:
            body = message.payload.decode()
        except UnicodeDecodeError:
            raise CollectorError(
                "the body is no text, and SQS takes no other: nothing was sent", permanent=True
            ) from None
        more: dict[str, Any] = {}
        if message.destination.endswith(".fifo"):
            group = dict(message.headers).get(GROUP) or message.key or _OWN_GROUP
            more = {"MessageGroupId": group, "MessageDeduplicationId": message.token}
        try:
            client = await self._connected()
            url = await client.url_of(message.destination)
        except NotAllowedError as error:
            raise CollectorError(f"{error}; nothing was sent", permanent=True) from None
        except CollectorError as error:
            raise CollectorError(f"{error}; nothing was sent", permanent=error.permanent, reached=False) from None
        if url is None:
            raise CollectorError(f"there is no queue {message.destination}: nothing was sent", permanent=True)
        try:
            answer = await client.ask(
                "send_message", QueueUrl=url, MessageBody=body, MessageAttributes=attributes, **more
            )
        except (NotAllowedError, GoneError) as error:
            raise CollectorError(f"{error}; nothing was sent", permanent=True) from None
        return str(answer.get("MessageId", ""))

    async def close(self) -> None:
        """Give the connection back."""
        self._open = False
        await self._client.close()
