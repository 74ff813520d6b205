"""All talk with a NATS server: connect, ask the JetStream API, read single messages, hear advisories, publish.

Promises: every call ends (answer, refusal, lost connection or timeout), a refusal is told from silence, and no message
or log line ever holds credentials. Never creates a consumer, never reconnects by itself: a lost server is an error.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

from collectors.base import CollectorError
from collectors.closing import closed
from collectors.nats.address import Address
from collectors.nats.parse import Message, direct_message, stored_message, subject_matches

ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 4
PAGE = 256
AT_ONCE = 16

_JETSTREAM_OFF = {10039, 10076}
_NO_MESSAGE = {10037}
_GONE = {10014, 10037, 10059}


class NotAllowedError(CollectorError):
    """The user may not do this. `right` names the subject that would have to be allowed."""

    def __init__(self, right: str) -> None:
        super().__init__(f"not allowed to publish on {right}: grant it to see more")
        self.right = right


class GoneError(CollectorError):
    """A stream or consumer that went away between listing it and asking for it."""


class _Pairs(dict[str, str]):
    """Headers in order with repeated names: nats-py only ever asks a dict for its items."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = list(pairs)

    def items(self) -> Any:
        return self._pairs


class Client:
    """One connection. `calls` and `received_bytes` count what we cost the server."""

    def __init__(self, url: str, name: str) -> None:
        self.address = Address.of(url)
        self.calls = 0
        self._name = f"eventflow {name}"
        self._connection: Connection | None = None
        self._trouble: Exception | None = None
        self._lost: asyncio.Future[None] | None = None
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._refused: set[str] = set()
        self._limit = asyncio.Semaphore(AT_ONCE)

    @property
    def received_bytes(self) -> int:
        return int(self._connection.stats["in_bytes"]) if self._connection else 0

    async def connect(self) -> None:
        """Connect once. Raises CollectorError quickly; permanent when the server knows us not."""
        where = self.address
        self._trouble, self._lost, self._limit = (
            None,
            asyncio.get_running_loop().create_future(),
            asyncio.Semaphore(AT_ONCE),
        )
        self._refused.clear()
        self._connection = Connection()
        try:
            async with asyncio.timeout(CONNECT_SECONDS * (len(where.servers) + 1)):
                await self._connection.connect(
                    servers=list(where.servers),
                    name=self._name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=CONNECT_SECONDS,
                    user=where.user,
                    password=where.password,
                    token=where.token,
                    user_credentials=where.credentials,
                    inbox_prefix=where.inbox,
                    error_cb=self._on_error,
                    closed_cb=self._on_closed,
                )
        except (nats.errors.Error, OSError, ValueError, TimeoutError) as error:
            await self.close()
            raise self._connect_error(error) from None

    def _connect_error(self, error: Exception) -> CollectorError:
        cause = self._trouble if isinstance(error, nats.errors.NoServersError) and self._trouble else error
        text, where = str(cause).lower(), self.address.shown
        if isinstance(cause, nats.errors.AuthorizationError) or "authorization" in text or "authentication" in text:
            return CollectorError(
                f"NATS at {where} refuses our credentials: correct user, password, token or creds file "
                "in the source's URL",
                permanent=True,
            )
        if isinstance(cause, FileNotFoundError) and where:
            return CollectorError(
                "the creds file named in the source's URL does not exist or can't be read", permanent=True
            )
        if isinstance(cause, TimeoutError):
            return CollectorError(f"no answer from NATS at {where}: is the address right, is a firewall between?")
        if isinstance(cause, OSError):
            why = (
                "connection refused"
                if isinstance(cause, ConnectionRefusedError)
                else cause.strerror or type(cause).__name__
            )
            return CollectorError(f"can't reach NATS at {where}: {why}")
        return CollectorError(f"can't connect to NATS at {where}: {type(cause).__name__}")

    async def close(self) -> None:
        """Give the connection back; never raises, never waits long."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await closed(connection.close(), 1)

    async def _on_error(self, error: Exception) -> None:
        self._trouble = error
        text = str(error).lower()
        if "permissions violation" not in text or '"' not in text:
            return
        subject = text.split('"')[1]
        if " publish " in text:
            for future in self._waiting.get(subject, ()):
                if not future.done():
                    future.set_result(None)
        else:
            self._refused.add(subject)
            if subject.startswith(self.address.inbox.lower()):
                self._lose(f"not allowed to receive answers: allow subscribing to {self.address.inbox}.>")

    async def _on_closed(self) -> None:
        self._lose(f"NATS at {self.address.shown} closed the connection")

    def _lose(self, why: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_exception(CollectorError(why))
            self._lost.exception()  # closing without anybody waiting is no news

    def check(self) -> None:
        """Raise when the connection was lost."""
        if self._lost is not None and self._lost.done():
            self._lost.result()

    async def _request(self, subject: str, payload: bytes, headers: Sequence[tuple[str, str]] | None = None) -> Msg:
        """Ask and wait for the first of: answer, refusal, lost connection, timeout."""
        if self._connection is None or self._lost is None:
            raise CollectorError("not connected")
        self.check()
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(subject.lower(), set())
        waiting.add(refused)
        pairs = None if headers is None else _Pairs(headers)
        self.calls += 1
        answer = asyncio.ensure_future(
            self._connection.request(subject, payload, timeout=ANSWER_SECONDS, headers=pairs)
        )
        events: list[asyncio.Future[Any]] = [answer, refused, self._lost]
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if refused.done():
                raise NotAllowedError(subject)
            self._lost.result()
            raise CollectorError(f"NATS at {self.address.shown} closed the connection")
        except nats.errors.TimeoutError:
            raise CollectorError(
                f"NATS at {self.address.shown} gave no answer on {subject} in {ANSWER_SECONDS:.0f} s"
            ) from None
        except nats.errors.ConnectionClosedError:
            raise CollectorError(f"NATS at {self.address.shown} closed the connection") from None
        finally:
            answer.cancel()
            with contextlib.suppress(asyncio.CancelledError, nats.errors.Error):
                await answer
            waiting.discard(refused)
            if not waiting:
                self._waiting.pop(subject.lower(), None)

    async def api(self, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API. Raises NotAllowedError, GoneError or CollectorError."""
        async with self._limit:
            try:
                answer = await self._request(f"{self.address.api}.{call}", json.dumps(body).encode() if body else b"")
            except nats.errors.NoRespondersError:
                raise self._jetstream_off() from None
        try:
            found = json.loads(answer.data)
            error = found.get("error") or {}
        except (ValueError, AttributeError):
            raise CollectorError(
                f"NATS at {self.address.shown} answered {call} with something that is no JSON object"
            ) from None
        if not error:
            return dict(found)
        code = error.get("err_code")
        if code in _JETSTREAM_OFF:
            raise self._jetstream_off()
        text = f"NATS refused {call}: {str(error.get('description', 'no reason given'))[:200]}"
        raise GoneError(text) if code in _GONE else CollectorError(text)

    def _jetstream_off(self) -> CollectorError:
        return CollectorError(
            f"JetStream is not enabled at {self.address.shown} for this account: start nats-server with -js "
            "(or add `jetstream {}` to its configuration and enable it for the account)"
        )

    async def _pages(self, call: str, key: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            page = await self.api(call, {"offset": len(items)})
            fresh = page.get(key) or []
            items += fresh
            if not fresh or len(items) >= int(page.get("total") or 0):
                return items

    async def streams(self) -> list[dict[str, Any]]:
        """Every stream with configuration and state."""
        return await self._pages("STREAM.LIST", "streams")

    async def consumers(self, stream: str) -> list[dict[str, Any]]:
        """Every consumer of a stream with configuration and state."""
        return await self._pages(f"CONSUMER.LIST.{stream}", "consumers")

    async def subjects(self, stream: str) -> dict[str, int]:
        """How many messages the stream holds of each subject."""
        found = await self.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
        subjects = (found.get("state") or {}).get("subjects") or {}
        return {str(subject): int(count) for subject, count in subjects.items()}

    async def streams_taking(self, subject: str) -> list[str]:
        """Names of the streams that store this subject."""
        try:
            found = await self.api("STREAM.NAMES", {"subject": subject})
        except NotAllowedError:
            configs = [stream.get("config") or {} for stream in await self.streams()]
            taking = [c for c in configs if any(subject_matches(str(p), subject) for p in c.get("subjects") or [])]
            return [str(config.get("name", "")) for config in taking]
        return [str(name) for name in found.get("streams") or []]

    async def message(
        self, stream: str, seq: int, subject: str | None = None, *, direct: bool = False
    ) -> Message | None:
        """The message at `seq`, or the first at or after it on `subject`; None when there is none.

        `direct`: the stream allows DIRECT.GET, which serves when STREAM.MSG.GET is not allowed to us.
        """
        query: dict[str, Any] = {"seq": seq}
        if subject is not None:
            query["next_by_subj"] = subject
        return await self._get(stream, query, direct=direct)

    async def last_message(self, stream: str, subject: str, *, direct: bool = False) -> Message | None:
        """The newest message on `subject`."""
        return await self._get(stream, {"last_by_subj": subject}, direct=direct)

    async def _get(self, stream: str, query: dict[str, Any], *, direct: bool) -> Message | None:
        try:
            found = await self.api(f"STREAM.MSG.GET.{stream}", query)
        except GoneError:
            return None
        except NotAllowedError:
            if not direct:
                raise
        else:
            return stored_message(stream, found.get("message") or {})
        async with self._limit:
            answer = await self._request(f"{self.address.api}.DIRECT.GET.{stream}", json.dumps(query).encode())
        return direct_message(stream, answer.headers or {}, answer.data)

    async def subscribe(self, subject: str, heard: Callable[[bytes], None]) -> bool:
        """Hear a core subject from now on; False when not allowed."""
        if self._connection is None:
            raise CollectorError("not connected")

        async def callback(message: Msg) -> None:
            heard(message.data)

        try:
            await self._connection.subscribe(subject, cb=callback)
            # Twice: nats-py's ping overtakes what is still to be sent; only a second one is answered after the refusal.
            await self._connection.flush(timeout=int(ANSWER_SECONDS))
            await self._connection.flush(timeout=int(ANSWER_SECONDS))
        except nats.errors.Error as error:
            self.check()
            raise CollectorError(f"can't subscribe to {subject}: {type(error).__name__}") from None
        return subject.lower() not in self._refused

    async def publish(self, subject: str, payload: bytes, headers: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Publish and return JetStream's acknowledgement. A permanent error means that nothing was stored."""
        try:
            answer = await self._request(subject, payload, headers)
            found = json.loads(answer.data)
        except nats.errors.NoRespondersError:
            raise CollectorError(f"no stream takes {subject}: nothing was sent", permanent=True) from None
        except NotAllowedError:
            raise CollectorError(f"not allowed to publish on {subject}: nothing was sent", permanent=True) from None
        except nats.errors.MaxPayloadError:
            raise CollectorError("the message is larger than the server allows (max_payload)", permanent=True) from None
        except (nats.errors.BadHeaderError, nats.errors.BadSubjectError):
            raise CollectorError("the subject or a header's name can't be sent over NATS", permanent=True) from None
        except ValueError:
            raise CollectorError(f"something that is not JetStream answered on {subject}") from None
        if not isinstance(found, dict):
            raise CollectorError(f"something that is not JetStream answered on {subject}")
        if error := found.get("error"):
            reason = (
                str(error.get("description", "no reason given"))[:200] if isinstance(error, dict) else "no reason given"
            )
            raise CollectorError(f"JetStream did not take the message on {subject}: {reason}", permanent=True)
        if "stream" not in found or "seq" not in found:
            raise CollectorError(f"something that is not JetStream answered on {subject}")
        return found
