"""The shop as processes: started fresh, ended wholly, patient with an Eventflow that is away."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.processes import DemoError, Shop, running_url
from demo.shop import faults, nats_broker
from demo.shop.story import tell
from tests.demo.conftest import Sink, until

pytestmark = pytest.mark.nats

LAUNCHER = """
import sys, time
from pathlib import Path
from demo.processes import Shop
Shop(Path(sys.argv[1]), "http://127.0.0.1:9", story=False).start()
print("started", flush=True)
time.sleep(600)
"""


def alive(marks: set[str]) -> list[str]:
    """Command lines of running processes that name one of `marks`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if any(mark in line for mark in marks) and int(path.parent.name) != os.getpid():
            found.append(line)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive_when(enough: Callable[[int], bool], marks: set[str], seconds: float = 10) -> list[str]:
    """What is alive as soon as it is `enough`; a command line takes a moment to appear after the start."""
    deadline = time.monotonic() + seconds
    while not enough(len(found := alive(marks))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_stop_leaves_no_process_behind(tmp_path: Path) -> None:
    with Shop(tmp_path, "http://127.0.0.1:9") as shop:
        url = shop.url
        assert len(alive_when(lambda count: count == 9, {url})) == 9
        assert running_url(tmp_path) == url
    assert alive({url, str(tmp_path)}) == []
    assert running_url(tmp_path) is None


def test_kill_9_of_the_launcher_leaves_no_process_behind(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, str(tmp_path)], stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"started\n"
        url = (tmp_path / "broker-url").read_text()
        assert len(alive_when(lambda count: count == 8, {url})) == 8
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    assert alive_when(lambda count: count == 0, {url, str(tmp_path)}) == []


async def test_the_shop_goes_on_while_nobody_listens_and_spans_flow_later(tmp_path: Path) -> None:
    port = free_port()
    shop = Shop(tmp_path, f"http://127.0.0.1:{port}", rate=4, story=False)
    started = time.monotonic()
    await asyncio.to_thread(shop.start)
    try:
        await asyncio.sleep(3)
        sink = Sink(port)
        try:
            assert await until(lambda: len({span.service for span in sink.spans}) == 8, seconds=25), (
                time.monotonic() - started
            )
        finally:
            sink.close()
        assert shop.ended() == {}
    finally:
        await asyncio.to_thread(shop.stop)


async def test_the_story_switches_on_its_faults_one_after_the_other(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "http://127.0.0.1:9", story=False)
    url = await asyncio.to_thread(shop.start_broker)
    try:
        broker = await nats_broker.connect(url, "test", patient=False)
        await tell(broker, ((0.0, "gift-card"), (0.0, "slow-consumer")))
        state = await faults.current(broker)
        await broker.close()
        assert {name for name in faults.FAULTS if state.on(name)} == {"gift-card", "slow-consumer"}
    finally:
        await asyncio.to_thread(shop.stop)


def test_a_taken_port_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("EVENTFLOW_DEMO_NATS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(DemoError, match="The NATS server did not start"):
            Shop(tmp_path, "http://127.0.0.1:9").start()
    assert alive({str(tmp_path)}) == []
