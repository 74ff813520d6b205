"""`python -m demo.shop SERVICE`: one service as one process, until SIGTERM or Ctrl-C.

`all` runs every service beside each other, and ends with the first that ends. `setup` creates streams and groups and
ends; `story` tells the demo's story and ends; `fault NAME on|off` sets a switch.
"""

import argparse
import asyncio
import importlib
import logging
import os
import signal
import subprocess
import sys
import time

from demo import leash
from demo.processes import end, launch
from demo.shop import brokers, faults, telemetry
from demo.shop.contract import SERVICES
from demo.shop.service import Service
from demo.shop.story import tell


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.shop", description=__doc__)
    parser.add_argument("what", choices=[*SERVICES, "all", "setup", "story", "fault"])
    parser.add_argument("words", nargs="*", help="for fault: its name, then on or off")
    parser.add_argument(
        "--broker",
        "--nats",
        default=os.environ.get("SHOP_BROKER", os.environ.get("SHOP_NATS", "nats://127.0.0.1:4222")),
    )
    parser.add_argument("--otlp", default=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"))
    parser.add_argument("--leash", action="store_true", help="end when standard input closes: the launcher is gone")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if options.leash:
        leash.hold()
    if options.what in SERVICES:
        module = importlib.import_module(f"demo.shop.{SERVICES[options.what]}")
        asyncio.run(serve(module.service, options.broker, options.otlp))
    elif options.what == "all":
        asyncio.run(errand("setup", [], options.broker))
        sys.exit(everything(options.broker, options.otlp))
    else:
        asyncio.run(errand(options.what, options.words, options.broker))


def everything(url: str, otlp: str) -> int:
    """All services as processes, until SIGTERM or Ctrl-C (0) or until one of them ends (then its code)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name in SERVICES:
            command = [sys.executable, "-m", "demo.shop", name, "--broker", url, "--otlp", otlp, "--leash"]
            running.append(launch(command))
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
        return next((code for process in running if (code := process.poll())), 1)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end(running)


async def serve(service: Service, url: str, otlp: str) -> None:
    provider = telemetry.start(service.name, service.version, otlp)
    broker = await brokers.connect(url, service.name)
    try:
        await service.run(broker)
    finally:
        await broker.close()
        await asyncio.to_thread(provider.shutdown)


async def errand(what: str, words: list[str], url: str) -> None:
    broker = await brokers.connect(url, what)
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
