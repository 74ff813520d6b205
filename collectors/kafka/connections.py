"""aiokafka's client and reader, which give every connection back whatever interrupts them.

The library forgets the connection it starts with when it is cancelled there, and keeps the rest open when its closing
is cancelled. Promises: after `end` nothing is open, and `end` neither fails nor waits long.
"""

from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import CloseReason, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.util import create_task

from collectors.closing import closed


class Connections(AIOKafkaClient):  # type: ignore[misc]  # the library ships no types
    """Connections to the brokers of one cluster."""

    def __init__(self, options: dict[str, Any], **more: Any) -> None:
        super().__init__(**options, **more)
        self._how = {name: value for name, value in options.items() if name != "bootstrap_servers"}

    async def bootstrap(self) -> None:
        """Ask the first broker that answers for the others; its connection is closed whatever comes."""
        for host, port, _ in self.hosts:
            try:
                first = await create_conn(host, port, max_idle_ms=self._connections_max_idle_ms, **self._how)
            except (OSError, KafkaError, TimeoutError):
                continue
            try:
                self.cluster.update_metadata(await first.send(MetadataRequest([])))
                break
            except (KafkaError, TimeoutError):
                continue
            finally:
                first.close()
        else:
            raise KafkaConnectionError(f"Unable to bootstrap from {self.hosts}")
        self._sync_task = create_task(self._md_synchronizer())

    async def _get_conn(self, node_id: Any, **how: Any) -> Any:
        """What the broker hung up on is closed here too before another takes its place."""
        for connection in self._conns.values():
            if not connection.connected():
                connection.close(reason=CloseReason.CONNECTION_BROKEN)
        return await super()._get_conn(node_id, **how)

    async def end(self) -> None:
        """Close, for good."""
        try:
            await closed(self.close())
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """Close every connection now, without waiting for anything."""
        if self._sync_task is not None:
            self._sync_task.cancel()
        for connection in self._conns.values():
            connection.close()


class Reader(AIOKafkaConsumer):  # type: ignore[misc]  # the library ships no types
    """Reads records of partitions it is told, in no group."""

    def __init__(self, options: dict[str, Any], **more: Any) -> None:
        super().__init__(**options, group_id=None, enable_auto_commit=False, **more)
        self._client = Connections(options)

    async def end(self) -> None:
        """Stop, for good, also when it never got to its start."""
        try:
            await closed(self.stop())
        finally:
            self._client.hang_up()
