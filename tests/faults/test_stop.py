"""Starting and stopping as a person does it: Ctrl-C, a taken port, a folder in use, sources that nobody can read."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.running import ROOT, Eventflow


def refused(eventflow: Eventflow, *arguments: str) -> str:
    """What it says on stderr when it does not start: one line."""
    done = subprocess.run(
        [sys.executable, "manage.py", "up", "--no-link", *arguments],
        cwd=ROOT,
        env=eventflow.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode not in (0, -9)
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_ctrl_c_ends_it_with_0_within_five_seconds_and_leaves_no_process(tmp_path: Path) -> None:
    with Eventflow(tmp_path / "data") as eventflow:
        command = eventflow.command
        assert command is not None
        began = time.monotonic()
        assert eventflow.stop() == 0, command.said
        assert time.monotonic() - began < 5
        assert command.group() == []
        assert "Traceback" not in command.said


@pytest.mark.parametrize("setting", ["EVENTFLOW_HTTP", "EVENTFLOW_OTLP_GRPC"])
def test_a_taken_port_is_told_in_one_sentence_with_the_setting_to_change(tmp_path: Path, setting: str) -> None:
    eventflow = Eventflow(tmp_path / "data")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        eventflow.env[setting] = f"127.0.0.1:{port}"
        said = refused(eventflow)
    assert f"Port {port} on 127.0.0.1 is taken" in said
    assert f"{setting}=127.0.0.1:{port + 1}" in said


def test_a_second_copy_on_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with Eventflow(tmp_path / "data") as first:
        said = refused(Eventflow(tmp_path / "data"))
        assert "Another Eventflow runs on the folder" in said
        assert "EVENTFLOW_DATA" in said
        assert first.api("/health")["status"] == "ok"


@pytest.mark.parametrize(
    ("sources", "word"),
    [
        ("nonsense", "NAME=nats://HOST:PORT"),
        ("shop=carrier-pigeon://me:secret@roof:1", "carrier-pigeon"),
    ],
)
def test_sources_that_nobody_can_read_are_told_in_one_sentence_without_their_credentials(
    tmp_path: Path, sources: str, word: str
) -> None:
    eventflow = Eventflow(tmp_path / "data", sources=sources)
    said = refused(eventflow)
    assert said.startswith("CommandError: EVENTFLOW_SOURCES: ")
    assert word in said
    assert "secret" not in said


def test_a_number_that_is_none_is_told_in_one_sentence(tmp_path: Path) -> None:
    eventflow = Eventflow(tmp_path / "data", env={"EVENTFLOW_RETENTION_HOURS": "soon"})
    assert "EVENTFLOW_RETENTION_HOURS='soon'" in refused(eventflow)


def test_a_database_url_that_nobody_can_read_is_told_without_repeating_it(tmp_path: Path) -> None:
    eventflow = Eventflow(tmp_path / "data", env={"DATABASE_URL": "postgrs://me:secret@db/eventflow"})
    said = refused(eventflow)
    assert "DATABASE_URL" in said
    assert "secret" not in said


def test_a_data_folder_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, no folder")
    said = refused(Eventflow(tmp_path / "data"))
    assert str(tmp_path / "data") in said
