#!/usr/bin/env python3
"""Installs the servers that tests and contributors use, where they are missing: `tests/install_services.py NAME…`

Needs nothing but Python, root and apt (Debian, Ubuntu). Elsewhere it says what to install, and goes on: what is not
there is left out later, by name. Packages never start as system services by this.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _command(name: str) -> bool:
    return shutil.which(name) is not None


NEEDS = {
    "kafka": (("java", "default-jre-headless"), ("mvn", "maven")),
    "rabbitmq": (("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"),),
    "redis": (("redis-server", "redis-server"),),
    "postgres": (("initdb", "postgresql"),),
    "chromium": (("chromium", "chromium fonts-dejavu-core"),),
    "docker-compose": (("docker-compose", "docker-compose"),),
    "nats": (),  # a wheel of the Python environment
}
"""What each takes: a program, or a file, and the Debian packages that bring it."""
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(names: list[str]) -> list[str]:
    """The packages that these services need and that are not here."""
    packages: list[str] = []
    for name in names:
        for program, package in NEEDS[name]:
            here = Path(program).exists() if "/" in program else _command(program)
            if program == "initdb":
                here = here or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
            if not here:
                packages += package.split()
    return packages


@contextmanager
def _nothing_starts() -> Iterator[None]:
    """Debian asks this file whether a package may start its service."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink()


def install(packages: list[str]) -> None:
    """By apt. Raises CalledProcessError when apt fails."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _nothing_starts():
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(NEEDS))
    packages = missing(parser.parse_args().names)
    if not packages:
        return 0
    if os.geteuid() != 0 or not _command("apt-get"):
        print(f"Not installed here: {' '.join(packages)} (Debian's names). Install them to have all services.")
        return 0
    print(f"Installing {' '.join(packages)} …")
    install(packages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
