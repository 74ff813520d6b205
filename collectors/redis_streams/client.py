"""All talk with a Redis server: connect, ask many things at once, append one entry on a person's word.

Promises: every call ends (answer, refusal, lost connection or timeout), a refusal is told from silence, and no message
or log line ever holds credentials. Never reconnects by itself: a lost server is an error.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from typing import Any

from collectors.base import CollectorError
from collectors.redis_streams.address import Address
from collectors.redis_streams.resp import Answers, Command, ProtocolError, Refusal, packed

ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 4.0
AT_ONCE = 200
"""Commands in one go: more would keep other clients of the server waiting."""
READ_BYTES = 256 * 1024


class Client:
    """One connection. `calls` and `received_bytes` count what we cost the server."""

    def __init__(self, url: str, name: str) -> None:
        self.address = Address.of(url)
        self.calls = 0
        self.received_bytes = 0
        self._name = "".join(c if c.isascii() and c.isprintable() and c != " " else "-" for c in f"eventflow-{name}")
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._turn = asyncio.Lock()

    async def connect(self) -> None:
        """Connect once. Raises CollectorError quickly; permanent when the server knows us not."""
        where = self.address
        self._turn = asyncio.Lock()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._reader, self._writer = await asyncio.open_connection(
                    where.host, where.port, ssl=self._tls(), limit=READ_BYTES
                )
        except TimeoutError:
            raise CollectorError(f"no answer from Redis at {where.shown}: is the address right?") from None
        except ssl.SSLError as error:
            raise CollectorError(f"no TLS with Redis at {where.shown}: {error.reason or 'refused'}") from None
        except OSError as error:
            why = "connection refused" if isinstance(error, ConnectionRefusedError) else error.strerror or "failed"
            raise CollectorError(f"can't reach Redis at {where.shown}: {why}") from None
        try:
            await self._greet()
        except BaseException:
            await self.close()
            raise

    def _tls(self) -> ssl.SSLContext | None:
        if not self.address.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.address.ca_file)
        except OSError:
            raise CollectorError("the file named by ?ca= in the source's URL can't be read", permanent=True) from None

    async def _greet(self) -> None:
        where = self.address
        commands: list[Command] = []
        if where.password is not None:
            commands.append(("AUTH", *([where.user] if where.user else []), where.password))
        if where.database:
            commands.append(("SELECT", where.database))
        # Not every user may name its connection, and NO-TOUCH (keys don't look used because we look) came with 7.2.
        wishes: list[Command] = [("CLIENT", "SETNAME", self._name), ("CLIENT", "NO-TOUCH", "ON")]
        answers = await self.ask([*commands, *wishes, ("PING",)])
        for answer in [*answers[: len(commands)], answers[-1]]:
            if not isinstance(answer, Refusal):
                continue
            if answer.code in {"WRONGPASS", "NOAUTH"} or "AUTH" in answer.text:
                raise CollectorError(
                    f"Redis at {where.shown} refuses our credentials: correct user and password in the source's URL",
                    permanent=True,
                )
            if "DB index" in answer.text:
                raise CollectorError(f"Redis at {where.shown} has no database {where.database}", permanent=True)
            if answer.code != "NOPERM":
                raise self.refused("the connection", answer)

    def refused(self, what: str, refusal: Refusal) -> CollectorError:
        """A refusal in words."""
        return CollectorError(f"Redis at {self.address.shown} refused {what}: {refusal.code} {refusal.text[:200]}")

    async def close(self) -> None:
        """Give the connection back; never raises, never waits long."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order; a refused command's is a Refusal. Raises CollectorError when the server is lost."""
        answers: list[Any] = []
        for start in range(0, len(commands), AT_ONCE):
            answers += await self._ask(commands[start : start + AT_ONCE])
        return answers

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        async with self._turn:
            if self._reader is None or self._writer is None:
                raise CollectorError("not connected")
            answers: list[Any] = []
            where, parser = self.address.shown, Answers()
            self.calls += len(commands)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    self._writer.write(packed(commands))
                    await self._writer.drain()
                    while len(answers) < len(commands):
                        data = await self._reader.read(READ_BYTES)
                        if not data:
                            raise CollectorError(f"Redis at {where} closed the connection")
                        self.received_bytes += len(data)
                        answers += parser.feed(data)
            except TimeoutError:
                # What comes late would be taken for the answer to the next question.
                await self.close()
                raise CollectorError(f"Redis at {where} gave no answer in {ANSWER_SECONDS:.0f} s") from None
            except ProtocolError:
                await self.close()
                raise CollectorError(f"what answers at {where} is no Redis server", permanent=True) from None
            except OSError:
                await self.close()
                raise CollectorError(f"Redis at {where} closed the connection") from None
            except asyncio.CancelledError:
                await self.close()
                raise
            return answers
