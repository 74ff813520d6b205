"""`python -m demo.shop SERVICE`: one service as one process, until SIGTERM or Ctrl-C.

`setup` creates streams and groups and ends; `story` tells the demo's story and ends; `fault NAME on|off` sets a switch.
"""

import argparse
import asyncio
import importlib
import logging
import os

from demo import leash
from demo.shop import faults, nats_broker, telemetry
from demo.shop.contract import SERVICES
from demo.shop.service import Service
from demo.shop.story import tell


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.shop", description=__doc__)
    parser.add_argument("what", choices=[*SERVICES, "setup", "story", "fault"])
    parser.add_argument("words", nargs="*", help="for fault: its name, then on or off")
    parser.add_argument("--nats", default=os.environ.get("SHOP_NATS", "nats://127.0.0.1:4222"))
    parser.add_argument("--otlp", default=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"))
    parser.add_argument("--leash", action="store_true", help="end when standard input closes: the launcher is gone")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if options.leash:
        leash.hold()
    if options.what in SERVICES:
        module = importlib.import_module(f"demo.shop.{SERVICES[options.what]}")
        asyncio.run(serve(module.service, options.nats, options.otlp))
    else:
        asyncio.run(errand(options.what, options.words, options.nats))


async def serve(service: Service, nats_url: str, otlp: str) -> None:
    provider = telemetry.start(service.name, service.version, otlp)
    broker = await nats_broker.connect(nats_url, service.name)
    try:
        await service.run(broker)
    finally:
        await broker.close()
        await asyncio.to_thread(provider.shutdown)


async def errand(what: str, words: list[str], nats_url: str) -> None:
    broker = await nats_broker.connect(nats_url, what)
    try:
        match what, words:
            case "setup", []:
                await broker.declare()
            case "story", []:
                await tell(broker)
            case "fault", [name, ("on" | "off") as state] if name in faults.FAULTS:
                await faults.switch(broker, name, state == "on")
            case _:
                raise SystemExit(f"usage: python -m demo.shop fault {{{','.join(faults.FAULTS)}}} on|off")
    finally:
        await broker.close()


if __name__ == "__main__":
    main()
