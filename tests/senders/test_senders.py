"""Senders that know nothing of Eventflow show up by being pointed at it. How fast is measured in `benchmarks`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.required import missing
from tests.running import Eventflow, until

OWN_SERVICE = Path(__file__).with_name("own_service.py")


def telemetrygen() -> str:
    places = [os.environ.get("GOBIN", ""), str(Path.home() / "go" / "bin")]
    if found := shutil.which("telemetrygen") or shutil.which("telemetrygen", path=os.pathsep.join(places)):
        return found
    missing(
        "telemetrygen",
        "no telemetrygen on PATH or in ~/go/bin: go install "
        "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.161.0",
    )


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_script_with_the_opentelemetry_sdk_shows_up_as_a_flow(eventflow: Eventflow) -> None:
    run(sys.executable, str(OWN_SERVICE), f"http://{eventflow.otlp_http}", "harvest-7")
    flow: Any = until(lambda: eventflow.find("/flows/harvest-7"), what="the flow")
    (message,) = flow["messages"]
    assert (message["service"], message["system"], message["destination"]) == ("greenhouse", "kafka", "harvests")


@pytest.mark.parametrize("over", ["grpc", "http"])
def test_telemetrygen_shows_up_whole(eventflow: Eventflow, over: str) -> None:
    address = {"grpc": [eventflow.otlp_grpc], "http": [eventflow.otlp_http, "--otlp-http"]}[over]
    service, traces, children = f"telemetrygen-{over}", 20, 2
    run(
        telemetrygen(),
        "traces",
        "--otlp-insecure",
        "--otlp-endpoint",
        *address,
        "--service",
        service,
        "--traces",
        str(traces),
        "--child-spans",
        str(children),
        "--workers",
        "1",
    )

    def spans() -> list[int]:
        """Of each of its traces. They hold no message, so that a list of flows leaves them out unless asked."""
        flows = eventflow.api(f"/flows?limit=500&plumbing=true&service={service}")["items"]
        return [flow["spans"] for flow in flows]

    until(lambda: spans() == [1 + children] * traces, what="all of it")
