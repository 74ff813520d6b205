"""`manage.py demo`: Eventflow and the shop together, afresh each time.

`--list` and `FAULT on|off` talk to the one that runs.
"""

import asyncio
import os
import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from demo import live
from demo.processes import DemoError, Shop, running_url
from demo.servers import SERVERS
from demo.shop import brokers, faults
from demo.shop.broker import BrokerError
from demo.shop.faults import FAULTS, Faults


class Command(BaseCommand):
    help = "Runs Eventflow with a living shop, or switches the shop's faults."
    requires_system_checks = ()  # `up` checks; a switch must work at once

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("fault", nargs="?", choices=[*FAULTS, "all"], help="a fault of the running shop, or all")
        parser.add_argument("state", nargs="?", choices=["on", "off"])
        parser.add_argument("--list", action="store_true", help="list the faults and whether they are on")
        parser.add_argument("--rate", type=float, default=4.0, help="orders per second (4)")
        parser.add_argument("--broker", choices=sorted(SERVERS), default="nats", help="the shop's broker (nats)")
        parser.add_argument("--no-story", action="store_true", help="nothing goes wrong by itself")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = settings.EVENTFLOW_DATA / "demo"
        fault, state = options["fault"], options["state"]
        if fault and not state:
            raise CommandError(f"Say on or off: manage.py demo {fault} on")
        if options["rate"] <= 0:
            raise CommandError("--rate must be more than 0 orders per second.")
        try:
            if fault or options["list"]:
                names = list(FAULTS) if fault == "all" else [fault] if fault else []
                self.show(asyncio.run(_switch(_running(folder), names, state == "on")))
            else:
                sys.exit(_run(folder, options["rate"], story=not options["no_story"], broker=options["broker"]))
        except (DemoError, BrokerError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"The demo cannot use {folder}: {error.strerror or error}") from error

    def show(self, state: Faults) -> None:
        width = max(map(len, FAULTS))
        for name, what in FAULTS.items():
            self.stdout.write(f"{name:{width}}  {'on ' if state.on(name) else 'off'}  {what}")


def _run(folder: Path, rate: float, *, story: bool, broker: str) -> int:
    if running_url(folder / "shop"):
        raise DemoError(f"A demo is running in {folder}: stop it first, or set EVENTFLOW_DATA to another folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if settings.EVENTFLOW_INGEST_TOKENS:  # the shop inherits what every OpenTelemetry exporter reads
        token = quote(settings.EVENTFLOW_INGEST_TOKENS[0], safe="")
        os.environ.setdefault("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{token}")
    otlp, http = _reachable(settings.EVENTFLOW_OTLP_HTTP), _reachable(settings.EVENTFLOW_HTTP)
    shop = Shop(folder / "shop", f"http://{otlp}", rate, story=story, broker=broker)
    # Afresh means a database of its own: never the one that a running installation uses.
    environment = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
    environment |= {"EVENTFLOW_DATA": str(folder / "eventflow"), "EVENTFLOW_DEMO": "1"}
    return live.run(shop, [sys.executable, "manage.py", "up"], environment, [otlp, http])


def _reachable(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{'127.0.0.1' if host in {'', '0.0.0.0'} else host}:{port}"  # noqa: S104 - compared, not bound


def _running(folder: Path) -> str:
    if url := running_url(folder / "shop"):
        return url
    raise DemoError(f"No demo is running in {folder}. Start one with: make demo")


async def _switch(url: str, names: list[str], on: bool) -> Faults:
    """Every fault's state after `names` were switched; none is fine."""
    broker = await brokers.connect(url, "manage.py demo", patient=False)
    try:
        for name in names:
            await faults.switch(broker, name, on)
        return await faults.current(broker)
    finally:
        await broker.close()
