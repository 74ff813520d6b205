"""The build of native modules where they can't be built."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import collectors

ROOT = Path(collectors.__file__).parents[1]


def build(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    for name in ("collectors", "eventflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so"), dirs_exist_ok=True)
    command = [sys.executable, "-P", "collectors/otlp/scan/build.py", *arguments]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_without_a_compiler_it_says_so_in_one_line_and_all_goes_on(tmp_path: Path) -> None:
    done = build(tmp_path, CC="no-such-compiler", EVENTFLOW_NATIVE="1")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("The fast span engine was not built (")
    assert done.stderr.count("\n") == 1
    assert build(tmp_path, "--must", CC="no-such-compiler", EVENTFLOW_NATIVE="1").returncode == 1


def test_who_wants_none_gets_none(tmp_path: Path) -> None:
    done = build(tmp_path, CC="no-such-compiler", EVENTFLOW_NATIVE="0")
    assert (done.returncode, done.stderr) == (0, "")
