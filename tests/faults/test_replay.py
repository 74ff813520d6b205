"""kill -9 of the whole of Eventflow in the middle of a replay: what it says afterwards is true, nothing is sent twice."""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.collectors.nats.shop import LETTER_HEADERS, connection, consumer
from tests.running import Eventflow, until

pytestmark = pytest.mark.nats

LETTERS = 40
KILLS = 3
SENT = {"sent", "consumed", "confirmed"}


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


def test_kill_9_during_a_replay_leaves_true_states_and_sends_nothing_twice(tmp_path: Path, nats_server: str) -> None:
    asyncio.run(_letters(nats_server, LETTERS))
    eventflow = Eventflow(tmp_path / "data", sources=f"shop={nats_server}")
    with eventflow:
        found = until(
            lambda: [item["id"] for item in eventflow.api("/dead-letters?limit=100")["items"]][LETTERS - 1 :]
            and eventflow.api("/dead-letters?limit=100")["items"],
            what="every letter",
        )
        wanted = {"dead_letters": [letter["id"] for letter in found], "reason": "fixed", "rate_per_second": 20}
        replay = eventflow.api("/replays", wanted)["id"]
        before = Counter[str]()
        for _ in range(KILLS):
            time.sleep(random.uniform(0.0, 0.8))
            eventflow.kill()
            at_rest = asyncio.run(_replayed(nats_server))
            # Dead, it sends nothing; and what was sent before stays as it was.
            assert before <= at_rest
            before = at_rest
            eventflow.start()

        def settled() -> bool:
            states = {item["state"] for item in eventflow.api(f"/replays/{replay}")["items"]}
            return not states & {"queued", "sending"}

        until(settled, 40, "an end of sending")
        ledger, stream = _tokens(eventflow.folder), asyncio.run(_replayed(nats_server))
        assert len(ledger) == LETTERS
        assert set(stream) <= set(ledger)
        assert max(stream.values()) == 1, "a message was sent twice"
        for token, state in ledger.items():
            assert state in SENT | {"unknown"}
            # `unknown` is what a crash between claim and answer left: both are possible, and it says so.
            assert state == "unknown" or stream[token] == 1
        assert sum(state == "unknown" for state in ledger.values()) <= KILLS
        time.sleep(2.5)  # two beats: nobody sends what is unknown by itself
        assert asyncio.run(_replayed(nats_server)) == stream
