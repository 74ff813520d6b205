"""`manage.py demo`: Eventflow and the shop together, afresh each time.

`--list` and `FAULT on|off` talk to the one that runs.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from demo.processes import DemoError, Shop, end, launch, running_url
from demo.shop import faults, nats_broker
from demo.shop.broker import BrokerError
from demo.shop.faults import FAULTS, Faults

READY_SECONDS = 60.0

TO_TRY = """
Five things to try while the shop runs (in half a minute gift cards begin to fail and email falls behind):
  1. Open Topology and follow an order from checkout to shipping.
  2. Open Flows, pick one that failed and read its timeline.
  3. Open Lag and watch the group email fall behind until its alert fires.
  4. End both faults, in another terminal:  {python} manage.py demo all off
  5. Open Dead letters, replay one and watch its flow turn green.
More faults: {python} manage.py demo --list. Ctrl-C stops all of it.
"""


class Command(BaseCommand):
    help = "Runs Eventflow with a living shop, or switches the shop's faults."
    requires_system_checks = ()  # `up` checks; a switch must work at once

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("fault", nargs="?", choices=[*FAULTS, "all"], help="a fault of the running shop, or all")
        parser.add_argument("state", nargs="?", choices=["on", "off"])
        parser.add_argument("--list", action="store_true", help="list the faults and whether they are on")
        parser.add_argument("--rate", type=float, default=4.0, help="orders per second (4)")
        parser.add_argument("--no-story", action="store_true", help="nothing goes wrong by itself")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = settings.EVENTFLOW_DATA / "demo"
        try:
            if options["list"]:
                self.list(asyncio.run(_current(_running(folder))))
            elif options["fault"]:
                if not options["state"]:
                    raise CommandError(f"Say on or off: manage.py demo {options['fault']} on")
                names = list(FAULTS) if options["fault"] == "all" else [options["fault"]]
                self.list(asyncio.run(_switch(_running(folder), names, options["state"] == "on")))
            elif options["rate"] <= 0:
                raise CommandError("--rate must be more than 0 orders per second.")
            else:
                self.live(folder, options["rate"], story=not options["no_story"])
        except (DemoError, BrokerError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"The demo cannot use {folder}: {error.strerror or error}") from error

    def list(self, state: Faults) -> None:
        width = max(map(len, FAULTS))
        for name, what in FAULTS.items():
            mark = self.style.WARNING("on ") if state.on(name) else "off"
            self.stdout.write(f"{name:{width}}  {mark}  {what}")

    def live(self, folder: Path, rate: float, *, story: bool) -> None:
        if running_url(folder / "shop"):
            raise DemoError(
                f"A demo is already running in {folder}: stop it first, or set EVENTFLOW_DATA to another folder."
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        signal.signal(signal.SIGTERM, _interrupt)
        shop = Shop(folder / "shop", f"http://{_reachable(settings.EVENTFLOW_OTLP_HTTP)}", rate, story=story)
        eventflow = None
        try:
            url = shop.start_broker()
            eventflow = _start_eventflow(folder, url)
            for address in (settings.EVENTFLOW_OTLP_HTTP, settings.EVENTFLOW_HTTP):
                _wait_for(eventflow, _reachable(address))
            shop.start_services()
            self.stdout.write(TO_TRY.format(python=Path(sys.executable).name))
            self.watch(shop, eventflow)
        except KeyboardInterrupt:
            self.stdout.write("\nStopping.")
        finally:
            # A second Ctrl-C must not leave half of it running.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            shop.stop()
            if eventflow:
                end([eventflow])

    def watch(self, shop: Shop, eventflow: "subprocess.Popen[bytes]") -> None:
        told: set[str] = set()
        while eventflow.poll() is None:
            for name, code in shop.ended().items():
                if name not in told:
                    told.add(name)
                    log = shop.folder / "logs" / f"{name}.log"
                    self.stderr.write(f"The shop's {name} has ended with code {code}, see {log}; the rest goes on.")
            time.sleep(0.5)
        code = eventflow.returncode or 1
        raise CommandError(f"Eventflow has ended with code {code}; what it said stands above.", returncode=code)


def _start_eventflow(folder: Path, nats_url: str) -> "subprocess.Popen[bytes]":
    # Afresh means a database of its own: never the one that a running installation uses.
    environment = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
    environment |= {"EVENTFLOW_DATA": str(folder / "eventflow"), "EVENTFLOW_SOURCES": f"shop={nats_url}"}
    command = [sys.executable, "-m", "demo.leash", sys.executable, "manage.py", "up"]
    return launch(command, env=environment)


def _wait_for(eventflow: "subprocess.Popen[bytes]", address: str) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if eventflow.poll() is not None:
            # It has said why, in a sentence of its own.
            sys.exit(eventflow.returncode or 1)
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise DemoError(f"Eventflow did not listen on {address} within {READY_SECONDS:.0f} seconds.")


def _reachable(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{'127.0.0.1' if host in {'', '0.0.0.0'} else host}:{port}"  # noqa: S104 - compared, not bound


def _running(folder: Path) -> str:
    if url := running_url(folder / "shop"):
        return url
    raise DemoError(f"No demo is running in {folder}. Start one with: make demo")


async def _current(url: str) -> Faults:
    return await _switch(url, [], False)


async def _switch(url: str, names: list[str], on: bool) -> Faults:
    broker = await nats_broker.connect(url, "manage.py demo", patient=False)
    try:
        for name in names:
            await faults.switch(broker, name, on)
        return await faults.current(broker)
    finally:
        await broker.close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
