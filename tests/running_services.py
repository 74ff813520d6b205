"""Real brokers and databases on loopback for whoever develops: started once, found again, stopped without a trace.

`python -m tests.running_services start [NAME…]`, `stop`, `status`; `make services` and `make services-stop` call it.
The servers are those of the tests, on free ports; their files and their addresses lie in the services' cache.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from demo import kafka
from tests.redis_rabbitmq import RabbitMqServer, RedisServer
from tests.services import KafkaServer, NatsServer, PostgresServer

NAMES = ("kafka", "nats", "postgres", "rabbitmq", "redis")
START_SECONDS = 900.0
"""The first time, Kafka's jars are fetched."""
STOP_SECONDS = 40.0
Servers = KafkaServer | NatsServer | PostgresServer | RabbitMqServer | RedisServer


def folder() -> Path:
    return kafka.cache() / "running"


def _written() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder() / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def _state() -> dict[str, Any] | None:
    """What is running, as it wrote down itself; None when nothing is."""
    found = _written()
    return found if found and _alive(found["pid"]) else None


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        state, command = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0], _command_of(pid)
        return state != "Z" and "running_services" in command
    return False


def _command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def start(names: Sequence[str]) -> int:
    """Start what is not running yet; the same again only tells where everything is."""
    state = _state()
    if state is None:
        _sweep()
        folder().mkdir(parents=True, exist_ok=True)
        folder().chmod(0o755)  # PostgreSQL runs as nobody under root
        with (folder() / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.running_services", "serve", *names],
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        print("Starting …", flush=True)
        deadline = time.monotonic() + START_SECONDS
        while ((state := _state()) is None or not state["ready"]) and time.monotonic() < deadline:
            if process.poll() is not None:
                print((folder() / "log").read_text()[-2000:], file=sys.stderr)
                return 1
            time.sleep(0.1)
    if state is None:
        return 1
    _tell(state)
    return 0


def _tell(state: dict[str, Any]) -> None:
    for name, url in state["services"].items():
        print(f"  {name:9} {url}")
    for name, why in state["missing"].items():
        print(f"  {name:9} is not here: {why}")
    print("\nTo use them:\n" + "".join(f"  export {name}='{value}'\n" for name, value in variables(state).items()))
    print("make services-stop ends them.")


def variables(state: dict[str, Any]) -> dict[str, str]:
    """What to put into the environment: Eventflow's sources, its database, and the tests' Kafka."""
    services = state["services"]
    brokers = [f"{name}={url}" for name, url in services.items() if name != "postgres"]
    found = {"EVENTFLOW_SOURCES": ",".join(brokers)} if brokers else {}
    if "postgres" in services:
        found["DATABASE_URL"] = services["postgres"]
    if "kafka" in services:
        found["EVENTFLOW_TEST_KAFKA"] = services["kafka"].rpartition(":")[2]
    return found


def stop() -> int:
    """End everything that runs, also what a killed start left behind."""
    state = _state()
    if state is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["pid"], signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _alive(state["pid"]) and time.monotonic() < deadline:
            time.sleep(0.1)
    left = _sweep()
    shutil.rmtree(folder(), ignore_errors=True)
    print("Stopped." if state is not None or left else "Nothing was running.")
    return 0


def _sweep() -> int:
    """Kill what still runs of us: the processes of our session, and those that name our folder."""
    ours, session, found = str(folder()).encode(), _written().get("pid"), 0
    for place in Path("/proc").glob("[0-9]*"):
        pid = int(place.name)
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = place.joinpath("stat").read_text().rpartition(")")[2].split()
            named = ours in place.joinpath("cmdline").read_bytes() + place.joinpath("environ").read_bytes()
            if named or (session and words[3] == str(session)):
                os.kill(pid, signal.SIGKILL)
                found += 1
    return found


def serve(names: Sequence[str]) -> int:
    """Be the one that holds them: start each, write down where it is, stop all on SIGTERM or Ctrl-C."""
    place = folder()
    makers: dict[str, Callable[[], Servers]] = {
        "kafka": lambda: KafkaServer(place / "kafka"),
        "nats": lambda: NatsServer(place / "nats"),
        "postgres": lambda: PostgresServer(place / "postgres"),
        "rabbitmq": lambda: RabbitMqServer(place / "rabbitmq"),
        "redis": lambda: RedisServer(place / "redis"),
    }
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    state: dict[str, Any] = {"pid": os.getpid(), "ready": False, "services": {}, "missing": {}}
    started: list[Servers] = []
    try:
        _write(state)
        for name in names or NAMES:
            try:
                server = makers[name]()
                started.append(server)
                server.start()
                state["services"][name] = server.url() if isinstance(server, RabbitMqServer) else server.url
            except (RuntimeError, OSError, kafka.MissingError) as error:
                state["missing"][name] = " ".join(str(error).split())[:300]
        state["ready"] = True
        _write(state)
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return 0
    finally:
        for server in reversed(started):
            (server.stop if isinstance(server, PostgresServer) else server.kill)()
        (place / "state.json").unlink(missing_ok=True)


def _write(state: dict[str, Any]) -> None:
    part = folder() / "state.part"
    part.write_text(json.dumps(state))
    part.replace(folder() / "state.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.running_services", description=__doc__)
    parser.add_argument("what", choices=("start", "stop", "status", "serve"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; all of them without")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such service: {', '.join(sorted(unknown))}")
    if options.what == "start":
        return start(options.names)
    if options.what == "serve":
        return serve(options.names)
    if options.what == "stop":
        return stop()
    if (state := _state()) is None:
        print("Nothing is running.")
        return 1
    _tell(state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
