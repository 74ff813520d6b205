"""What one look at a NATS server with many consumers costs us: `python -m benchmarks.nats [--consumers 1000]`.

A real nats-server; our CPU seconds for one whole cycle, when every consumer moved since the last and when none did.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import nats

from benchmarks.figures import Figure, table
from collectors.nats import NatsCollector
from eventflow.domain.observations import LagSample, Observation, SourceStatus
from tests.services import NatsServer

PER_STREAM = 100
MESSAGES = 300


def measure(consumers: int = 300, cycles: int = 5) -> list[Figure]:
    """One server for all of it."""
    with tempfile.TemporaryDirectory(prefix="eventflow-nats-") as folder:
        server = NatsServer(Path(folder)).start()
        try:
            return asyncio.run(_measure(server.url, consumers, cycles))
        finally:
            server.stop()


async def _fill(url: str, consumers: int) -> None:
    """Streams of messages, each with consumers that stand at different places; one in ten has nothing waiting."""
    connection = await nats.connect(url)
    try:
        for first in range(0, consumers, PER_STREAM):
            name = f"s{first // PER_STREAM}"
            stream = {"name": name, "subjects": [f"{name}.>"], "storage": "memory", "num_replicas": 1}
            await connection.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(stream).encode(), timeout=30)
            for _ in range(MESSAGES):
                await connection.publish(f"{name}.orders", b"{}")
            await connection.flush(timeout=30)
            for number in range(min(PER_STREAM, consumers - first)):
                durable = f"c{number}"
                start = MESSAGES + 1 if number % 10 == 0 else 1 + 2 * number
                config = {
                    "durable_name": durable,
                    "ack_policy": "explicit",
                    "deliver_policy": "by_start_sequence",
                    "opt_start_seq": start,
                }
                asked = json.dumps({"stream_name": name, "config": config}).encode()
                await connection.request(f"$JS.API.CONSUMER.CREATE.{name}.{durable}", asked, timeout=30)
    finally:
        await connection.close()


async def _measure(url: str, consumers: int, cycles: int) -> list[Figure]:
    await _fill(url, consumers)
    collector = NatsCollector("bench", url, seconds=0.05)
    moved: list[float] = []
    rested: list[float] = []
    calls: list[int] = []
    seen: set[tuple[str | None, str]] = set()
    mark = time.process_time()
    cycle = 0
    done = asyncio.Event()

    async def emit(batch: Sequence[Observation]) -> None:
        nonlocal mark, cycle
        seen.update((one.container, one.group) for one in batch if isinstance(one, LagSample))
        status = next((one for one in batch if isinstance(one, SourceStatus)), None)
        if status is None:
            return
        cycle += 1
        used = time.process_time() - mark
        if cycle > 1:  # the first also connects
            (moved if cycle % 2 else rested).append(used)
            calls.append(status.calls or 0)
        if cycle % 2 == 0:
            collector.forget_positions()
        if cycle > 2 * cycles:
            done.set()
        mark = time.process_time()

    running = asyncio.create_task(collector.run(emit))
    finished = asyncio.create_task(done.wait())
    await asyncio.wait([running, finished], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    finished.cancel()
    await asyncio.gather(running, finished, return_exceptions=True)
    assert len(seen) == consumers, f"only {len(seen)} of {consumers} consumers were seen"
    share = consumers / 1000
    return [
        Figure(f"nats: cycle, {consumers} consumers moved", median(moved), "CPU s", must=0.5 * share, aim=0.3 * share),
        Figure(f"nats: cycle, {consumers} consumers at rest", median(rested), "CPU s", must=0.5 * share),
        Figure("nats: most calls a cycle", max(calls), "calls"),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--consumers", type=int, default=1000)
    options.add_argument("--cycles", type=int, default=5)
    wanted = options.parse_args()
    print(table(measure(wanted.consumers, wanted.cycles)))


if __name__ == "__main__":
    main()
