"""The live demo with a stand-in for Eventflow that only listens: started in order, ended wholly; and its switches."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.core.management.base import CommandError

from demo.processes import Shop
from tests.demo.test_processes import alive, alive_when, free_port

pytestmark = pytest.mark.nats

STAND_IN = """import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    server.accept()[0].close()
"""
FAILING = "import sys; sys.exit('Port 8000 is taken: set EVENTFLOW_HTTP to another address.')"
LAUNCHER = """
import os, sys
from pathlib import Path
from demo import live
from demo.processes import Shop
folder, port, stand_in = sys.argv[1:]
shop = Shop(Path(folder), "http://127.0.0.1:9")
sys.exit(live.run(shop, [sys.executable, "-c", stand_in, port], dict(os.environ), [f"127.0.0.1:{port}"]))
"""


@contextmanager
def demo(folder: Path, stand_in: str = STAND_IN) -> Iterator[tuple["subprocess.Popen[str]", set[str]]]:
    port = str(free_port())
    command = [sys.executable, "-c", LAUNCHER, str(folder), port, stand_in]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process, {str(folder), f"close()\n {port}"}
        finally:
            process.kill()


def started(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C stops" in line:
            break
    return said


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_all_of_it(tmp_path: Path, signal_number: signal.Signals) -> None:
    with demo(tmp_path) as (process, marks):
        said = started(process)
        assert said.count("\n  ") == 5
        marks.add((tmp_path / "broker-url").read_text())
        assert len(alive_when(lambda count: count >= 14, marks)) >= 12
        process.send_signal(signal_number)
        assert process.wait(20) == 0
        assert alive(marks) == []


def test_kill_9_of_the_demo_ends_eventflow_and_the_shop(tmp_path: Path) -> None:
    with demo(tmp_path) as (process, marks):
        started(process)
        marks.add((tmp_path / "broker-url").read_text())
        process.kill()
        assert alive_when(lambda count: count == 0, marks, seconds=15) == []


def test_an_eventflow_that_cannot_start_says_its_sentence_and_ends_the_demo(tmp_path: Path) -> None:
    with demo(tmp_path, FAILING) as (process, marks):
        said, _ = process.communicate(timeout=20)
        assert said == "Port 8000 is taken: set EVENTFLOW_HTTP to another address.\n"
        assert process.returncode == 1
        assert alive(marks) == []


def test_the_command_switches_faults_of_the_running_shop(tmp_path: Path, settings: LazySettings) -> None:
    settings.EVENTFLOW_DATA = tmp_path
    shop = Shop(tmp_path / "demo" / "shop", "http://127.0.0.1:9")
    shop.start_broker()
    try:
        said = StringIO()
        call_command("demo", "gift-card", "on", stdout=said)
        assert "gift-card         on " in said.getvalue()
        call_command("demo", "all", "off", stdout=(said := StringIO()))
        assert [line.split()[1] for line in said.getvalue().splitlines()] == ["off"] * 6
        call_command("demo", "--list", stdout=(said := StringIO()))
        assert said.getvalue().count(" off ") == 6
        with pytest.raises(CommandError, match="A demo is running in"):
            call_command("demo")
    finally:
        shop.stop()


def test_without_a_running_demo_a_switch_says_how_to_start_one(tmp_path: Path, settings: LazySettings) -> None:
    settings.EVENTFLOW_DATA = tmp_path
    with pytest.raises(CommandError, match="Start one with: make demo"):
        call_command("demo", "gift-card", "on")
    with pytest.raises(CommandError, match="Say on or off"):
        call_command("demo", "gift-card")
