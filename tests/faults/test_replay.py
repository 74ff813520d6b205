"""kill -9 of all of Eventflow in the middle of a replay: what it says afterwards is true, nothing is sent twice."""

import asyncio
import random
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests import otlp
from tests.collectors.nats.shop import LETTER_HEADERS, connection, consumer
from tests.running import Eventflow, until

pytestmark = pytest.mark.nats

LETTERS = 24
KILLS = 3
SENT = {"sent", "consumed", "confirmed"}


class Payment:
    """The letters' consumer group: takes what is replayed, and its span goes to Eventflow, again until acknowledged."""

    def __init__(self, url: str, otlp_address: str) -> None:
        self._url, self._address = url, otlp_address
        self.tokens: list[str] = []
        self._over = threading.Event()
        self._unsent: list[bytes] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    async def _run(self) -> None:
        async with connection(self._url) as (_, js):
            reading = await js.pull_subscribe_bind("payment", "ORDERS")
            while not self._over.is_set():
                try:
                    messages = await reading.fetch(10, timeout=0.1)
                except TimeoutError:
                    messages = []
                for message in messages:
                    self._took(message.headers or {})
                    await message.ack()
                self._unsent = [body for body in self._unsent if not await asyncio.to_thread(self._post, body)]

    def _took(self, headers: dict[str, Any]) -> None:
        self.tokens.append(headers["Eventflow-Replay"])
        context = otlp.context(TraceContextTextMapPropagator().extract(headers))
        hop = otlp.Hop(key=headers["correlation-id"], destination="orders.placed", group="payment", consumer="payment")
        hop.trace_id, hop.sent = context
        self._unsent.append(hop.request(sender=False))

    def _post(self, body: bytes) -> bool:
        return otlp.post(self._address, body, timeout=2)

    def end(self) -> None:
        self._over.set()
        self._thread.join(10)


async def _letters(url: str, count: int) -> None:
    async with connection(url) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        for number in range(count):
            own = {"correlation-id": f"order-{number}", "ce-id": f"event-{number}"}
            await js.publish("dlq.payment", b"%d" % number, headers=LETTER_HEADERS | own)


async def _replayed(url: str) -> Counter[str]:
    """Replay token → how many messages of the stream carry it."""
    async with connection(url) as (_, js):
        last = (await js.stream_info("ORDERS")).state.last_seq
        messages = [await js.get_msg("ORDERS", sequence) for sequence in range(1, last + 1)]
    return Counter((message.headers or {})["Eventflow-Replay"] for message in messages)


def _tokens(folder: Path) -> dict[str, str]:
    """Replay token → state, as the ledger has it."""
    with sqlite3.connect(folder / "eventflow.sqlite3") as database:
        return dict(database.execute("SELECT token, state FROM store_replayitem").fetchall())


def _ask_for_a_replay_of_all(eventflow: Eventflow) -> str:
    def letters() -> list[Any]:
        found: list[Any] = eventflow.api("/dead-letters?limit=100")["items"]
        return found if len(found) == LETTERS else []

    ids = [letter["id"] for letter in until(letters, what="every letter")]
    wanted = {"dead_letters": ids, "reason": "fixed", "rate_per_second": 20}
    return str(eventflow.api("/replays", wanted)["id"])


def test_kill_9_during_a_replay_leaves_true_states_and_sends_nothing_twice(tmp_path: Path, nats_server: str) -> None:
    asyncio.run(_letters(nats_server, LETTERS))
    with Eventflow(tmp_path / "data", sources=f"shop={nats_server}") as eventflow:
        payment = Payment(nats_server, eventflow.otlp_http)
        replay = _ask_for_a_replay_of_all(eventflow)
        for _ in range(KILLS):
            # In the middle: some messages after the last time, and somewhere between two of them.
            enough = min(LETTERS - 2, len(payment.tokens) + random.randint(1, 6))
            until(lambda enough=enough: len(payment.tokens) >= enough, 60, f"{enough} messages")  # type: ignore[misc]  # bound now
            time.sleep(random.uniform(0, 0.03))
            eventflow.kill()
            at_rest = asyncio.run(_replayed(nats_server))
            assert set(at_rest.values()) == {1}
            eventflow.start()

        def states() -> set[str]:
            return {item["state"] for item in eventflow.api(f"/replays/{replay}")["items"]}

        until(lambda: not states() & {"queued", "sending"}, 60, "an end of sending")
        until(lambda: states() <= {"confirmed", "unknown"}, 20, "every outcome")
        ledger, stream = _tokens(eventflow.folder), asyncio.run(_replayed(nats_server))
        payment.end()
        assert len(ledger) == LETTERS
        assert set(stream) <= set(ledger)
        assert set(stream.values()) == {1}, "a message was sent twice"
        assert {token for token, state in ledger.items() if state == "confirmed"} <= set(stream)
        # What a crash hid and nobody consumed was surely not sent; it stays unknown, and nobody sends it by itself.
        assert {token for token, state in ledger.items() if state == "unknown"} == set(ledger) - set(stream)
        time.sleep(2.5)
        assert asyncio.run(_replayed(nats_server)) == stream
