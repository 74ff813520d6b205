"""The live demo: Eventflow and the shop started in order, watched, and stopped in order. Knows Eventflow as a command.

Promises that Ctrl-C, SIGTERM or the end of Eventflow stops all of it.
"""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from demo.processes import DemoError, Shop, end, launch

READY_SECONDS = 60.0

TO_TRY = """
Five things to try while the shop runs (in half a minute gift cards begin to fail and email falls behind):
  1. Open Topology and follow an order from checkout to shipping.
  2. Open Flows, pick one that failed and read its timeline.
  3. Open Lag and watch the group email fall behind until its alert fires.
  4. End both faults, in another terminal:  {python} manage.py demo all off
  5. Open Dead letters, replay one and watch its flow turn green.
More faults: {python} manage.py demo --list. Ctrl-C stops all of it."""


def run(shop: Shop, eventflow: list[str], environment: dict[str, str], addresses: list[str]) -> int:
    """Until Ctrl-C (0) or until Eventflow ends (its code); it is ready when it listens on all `addresses`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    process = None
    try:
        url = shop.start_broker()
        command = [sys.executable, "-m", "demo.leash", *eventflow]
        process = launch(command, env={**environment, "EVENTFLOW_SOURCES": f"shop={url}"})
        if not _ready(process, addresses):
            return process.returncode or 1
        shop.start_services()
        print(TO_TRY.format(python=_python()), flush=True)
        return _watch(shop, process)
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
        return 0
    finally:
        # A second Ctrl-C must not leave half of it running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        shop.stop()
        if process:
            end([process])


def _python() -> str:
    """How to call this Python from here."""
    here, python = Path.cwd(), Path(sys.executable)
    return str(python.relative_to(here) if python.is_relative_to(here) else python)


def _ready(process: "subprocess.Popen[bytes]", addresses: list[str]) -> bool:
    """False when it ended instead: it has said why, in a sentence of its own."""
    deadline = time.monotonic() + READY_SECONDS
    for address in addresses:
        while not _listens(address):
            if process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                raise DemoError(f"Eventflow did not listen on {address} within {READY_SECONDS:.0f} seconds.")
            time.sleep(0.1)
    return process.poll() is None


def _watch(shop: Shop, process: "subprocess.Popen[bytes]") -> int:
    told: set[str] = set()
    while process.poll() is None:
        for name, code in shop.ended().items():
            if name not in told:
                told.add(name)
                log = shop.folder / "logs" / f"{name}.log"
                print(f"The shop's {name} has ended with code {code}, see {log}; the rest goes on.", file=sys.stderr)
        time.sleep(0.5)
    print(f"Eventflow has ended with code {process.returncode}; what it said stands above.", file=sys.stderr)
    return process.returncode or 1


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True
