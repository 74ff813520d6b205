"""The ingest prototype's rate on this machine now, for what it makes of ours.

EVENTFLOW_PROTOTYPE names the folder that its run.sh prepared; without it nothing is compared.
"""

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.cores import LOAD, SERVER, pinned
from tests.services import free_port

SENDERS = 32


def folder() -> Path | None:
    """Where it is."""
    named = os.environ.get("EVENTFLOW_PROTOTYPE")
    return Path(named).resolve() if named else None


def rate(where: Path, *, native: bool) -> float:
    """Spans a second, as run.sh measures them."""
    port = free_port()
    environment = {**os.environ, "PACK": "1"} | ({} if native else {"DECODER": "py"})
    command = [where / "v/bin/granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
    options = ["--workers", "1", "--no-ws", "--log-level", "warning", "e2e_app:app"]
    with pinned(SERVER):
        server = subprocess.Popen([*command, *options], cwd=where, env=environment, stdout=subprocess.DEVNULL)
    try:
        _answers(port)
        load = [where / "v/bin/python", "http_loadgen.py", str(port), str(SENDERS), "60", "/v1/traces", "uniq"]
        with pinned(LOAD):
            done = subprocess.run(load, cwd=where, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    found = re.search(r"([\d,]+) spans/s", done.stdout)
    assert found is not None, f"the prototype said {done.stdout!r}"
    return float(found[1].replace(",", ""))


def _answers(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError("the prototype did not start")
