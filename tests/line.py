"""A TCP line between a watcher and a broker that a test can silence: nothing passes, nothing is closed, as in a network
that drops packets. What was on its way arrives when the line works again.
"""

import asyncio


class Line:
    """`async with Line() as line`: connections to `line.port` go to port `line.to`."""

    def __init__(self, to: int = 0) -> None:
        self.to = to
        self.port = 0
        self._works = asyncio.Event()
        self._works.set()
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Line":
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await self._server.wait_closed()

    def silence(self) -> None:
        self._works.clear()

    def resume(self) -> None:
        self._works.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            await self._works.wait()
            answers, there = await asyncio.open_connection("127.0.0.1", self.to)
            ways = [asyncio.create_task(self._pipe(reader, there)), asyncio.create_task(self._pipe(answers, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the broker is away, or the test is over: either way this connection ends
        finally:
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()
            self._pipes.discard(task)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._works.wait()
            writer.write(data)
            await writer.drain()
