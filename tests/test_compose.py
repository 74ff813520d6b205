"""docker-compose.yml without Docker: each of its commands is started here, on real servers, and they work together.

Only the interpreter's path, host names and ports differ from what Docker would do.
"""

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.sync.client import connect

from demo.shop.contract import SERVICES
from tests import otlp
from tests.collectors.nats.shop import LETTER_HEADERS, connection, consumer
from tests.required import missing
from tests.running import ROOT, Command, Eventflow, until
from tests.services import NatsServer, Postgres, Redis

pytestmark = [pytest.mark.nats, pytest.mark.redis, pytest.mark.postgres]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in FILE["services"].items() if service.get("build")}


class Installation:
    """What `docker-compose up` starts, process by process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stop: list[Callable[[], object]] = []
        self.commands: dict[str, Command] = {}
        self.postgres, self.redis = Postgres(), Redis(folder / "redis")
        self.nats = NatsServer(folder / "nats").start()
        self._stop += [self.nats.kill, self.redis.stop, self.postgres.stop]
        self.web = Eventflow(folder / "web", sources=f"shop={self.nats.url}")
        self.web.env |= {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}
        self.web.env["EVENTFLOW_SECRET_KEY"] = "the same for all, as the folder /data makes it in docker-compose.yml"

    def start(self, name: str, ready: str) -> Command:
        """The service's own command, with its own data folder as in its own container."""
        words = shlex.split(OURS[name]["command"])
        if words[0] == "celery":
            words[0:1] = ["python", "-m", "celery"]
            words[words.index("--schedule") + 1] = str(self.folder / "celerybeat-schedule")
        assert words[0] == "python"
        env = self.web.env | {"EVENTFLOW_DATA": str(self.folder / name)}
        env |= {"SHOP_NATS": self.nats.url, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.web.otlp_http}"}
        command = Command([sys.executable, *words[1:]], env)
        self.commands[name] = command
        self._stop.insert(0, command.end)
        command.wait_for(ready)
        return command

    def stop(self) -> None:
        for stop in self._stop:
            stop()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    found = Installation(tmp_path_factory.mktemp("compose"))
    try:
        found.start("web", "Ctrl-C stops it")
        found.start("worker", "Ctrl-C stops it")
        found.start("tasks", "celery@")
        yield found
    finally:
        found.stop()
        for name, command in found.commands.items():
            print(f"{name}:\n{command.said[-3000:]}")


def test_the_file_is_valid() -> None:
    binary = shutil.which("docker-compose")
    if binary is None:
        missing("docker-compose", "no docker-compose on this machine (Debian: apt install docker-compose)")
    done = subprocess.run([binary, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_of_ours_is_started_here() -> None:
    assert set(OURS) == {"web", "worker", "tasks", "shop"}


def test_what_the_dockerfile_copies_and_starts_is_there() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split()), source
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {"eventflow", "collectors", "demo", "templates", "static"} & {name.strip("/*") for name in ignored}


def test_a_span_sent_to_the_worker_shows_up_in_the_web_process(installation: Installation) -> None:
    hop = otlp.Hop()
    assert otlp.post(installation.web.otlp_http, hop.request())
    flow: Any = until(lambda: installation.web.find(f"/flows/{hop.key}"), what="the flow")
    assert [message["destination"] for message in flow["messages"]] == ["sales.made"]


def _session(web: Eventflow) -> str:
    """The cookies of somebody logged in by a link of `manage.py login_link`."""
    done = web.manage("login_link")
    assert done.returncode == 0, done.stderr
    jar = CookieJar()
    urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar)).open(done.stdout.strip(), timeout=20).close()
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


def test_news_of_the_worker_reach_a_page_of_the_web_process(installation: Installation) -> None:
    web, hop = installation.web, otlp.Hop()
    headers = {"Cookie": _session(web)}
    with connect(f"ws://{web.http}/live", origin=f"http://{web.http}", additional_headers=headers) as socket:  # type: ignore[arg-type]  # an origin is text
        socket.send(json.dumps({"show": [f"flow:{hop.key}"], "ping": 1}))
        assert json.loads(socket.recv(10)) == {"pong": 1}
        assert otlp.post(web.otlp_http, hop.request())
        assert json.loads(socket.recv(20)) == {"news": [f"flow:{hop.key}"]}


async def _a_letter(url: str) -> None:
    async with connection(url) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        await js.publish("dlq.payment", b"{}", headers=LETTER_HEADERS)


async def _orders(url: str) -> list[dict[str, str]]:
    async with connection(url) as (_, js):
        count = (await js.stream_info("ORDERS")).state.messages
        return [dict((await js.get_msg("ORDERS", sequence)).headers or {}) for sequence in range(1, count + 1)]


def test_a_replay_asked_for_over_the_api_is_sent_by_celery(installation: Installation) -> None:
    web = installation.web
    asyncio.run(_a_letter(installation.nats.url))
    (letter,) = until(lambda: web.api("/dead-letters")["items"], what="the letter")
    replay = web.api("/replays", {"dead_letters": [letter["id"]], "reason": "fixed"})
    until(lambda: web.api(f"/replays/{replay['id']}")["items"][0]["state"] == "sent", what="the sending")
    (message,) = asyncio.run(_orders(installation.nats.url))
    assert message["Eventflow-Replay"]
    assert message["correlation-id"] == "order-1"


def test_the_shop_runs_as_a_whole_and_ends_as_a_whole(installation: Installation) -> None:
    asyncio.run(_forget(installation.nats.url))
    shop = installation.start("shop", "")
    assert FILE["services"]["shop"]["environment"].keys() == {"SHOP_NATS", "OTEL_EXPORTER_OTLP_ENDPOINT"}

    def seen() -> bool:
        flows = installation.web.api("/flows?limit=20&service=checkout")["items"]
        return any(
            {"checkout", "payment-service"} <= {service["name"] for service in flow["services"]} for flow in flows
        )

    until(seen, 60, "an order that was paid")
    running = [pid for pid in Path("/proc").glob("[0-9]*") if _is_of_the_shop(pid, installation.nats.url)]
    assert len(running) == len(SERVICES)
    assert shop.end() == 0, shop.said
    assert not [pid for pid in running if _is_of_the_shop(pid, installation.nats.url)]


async def _forget(url: str) -> None:
    async with connection(url) as (_, js):
        for name in [stream.config.name for stream in await js.streams_info()]:
            await js.delete_stream(str(name))


def _is_of_the_shop(process: Path, url: str) -> bool:
    try:
        return url.encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False
