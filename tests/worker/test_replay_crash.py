"""kill -9 in the middle of a replay, at every step, against a real NATS server: true states, nothing sent twice."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

pytestmark = pytest.mark.nats
ROOT = Path(__file__).resolve().parents[2]
SENDER = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from eventflow.worker import replay_send
from tests import crashing
step, action = sys.argv[1], sys.argv[2]
if action == "prepare":
    call_command("migrate", verbosity=0)
    crashing.prepare(3)
elif action == "send":
    crashing.send(step)
else:
    crashing.restart()
print("done")
"""


@pytest.fixture
def run(tmp_path: Path, nats_server: str) -> Iterator["Runner"]:
    yield Runner(tmp_path, nats_server)


class Runner:
    """Starts the sender as a process of its own, over its own database and the test's NATS."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.database = folder / "eventflow.sqlite3"
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "eventflow.settings",
            "EVENTFLOW_DATA": str(folder),
            "EVENTFLOW_SOURCES": f"shop={url}",
            "PYTHONPATH": str(ROOT),
        }

    def __call__(self, action: str, step: str = "none") -> int:
        done = subprocess.run(
            [sys.executable, "-c", SENDER, step, action],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode

    def states(self) -> list[str]:
        with sqlite3.connect(self.database) as database:
            return [row[0] for row in database.execute("select state from store_replayitem order by id")]

    def letters(self) -> list[str]:
        with sqlite3.connect(self.database) as database:
            return [row[0] for row in database.execute("select status from store_deadletter order by id")]

    def stream(self, action: str) -> list[str]:
        """Make the stream, or give the replay tokens in it."""

        async def work() -> list[str]:
            client = await nats.connect(self.url)
            jetstream = client.jetstream()
            try:
                if action == "make":
                    # A duplicate window of nothing would hide a second send; the shortest one is 100 ms.
                    await jetstream.add_stream(name="ORDERS", subjects=["orders.>"], duplicate_window=0.1)
                    return []
                info = await jetstream.stream_info("ORDERS")
                found = []
                for number in range(1, info.state.last_seq + 1):
                    message = await jetstream.get_msg("ORDERS", number)
                    found.append((message.headers or {})["Eventflow-Replay"])
                return found
            finally:
                await client.close()

        return asyncio.run(work())


@pytest.mark.parametrize(
    ("step", "after_kill", "after_restart", "sent"),
    [
        # Killed before the claim was committed: nothing happened, so it goes out after the restart.
        ("before-claim", "queued", "sent", 3),
        # Killed between claim and send: Eventflow cannot know, so it says so and sends the others only.
        ("before-send", "sending", "unknown", 2),
        # Killed after the broker took it, before that was noted: the same words, and no second send.
        ("after-send", "sending", "unknown", 3),
        ("after-note", "sent", "sent", 3),
    ],
)
def test_a_kill_at_any_step_leaves_true_states_and_sends_nothing_twice(
    run: Runner, step: str, after_kill: str, after_restart: str, sent: int
) -> None:
    run.stream("make")
    run("prepare")
    assert run("send", step) == -signal.SIGKILL
    assert run.states() == [after_kill, "queued", "queued"]

    run("restart")

    assert run.states() == [after_restart, "sent", "sent"]
    assert run.letters() == ["open" if after_restart == "unknown" else "replaying", "replaying", "replaying"]
    tokens = run.stream("read")
    assert len(tokens) == sent
    assert len(set(tokens)) == len(tokens)

    run("restart")
    assert len(run.stream("read")) == sent
