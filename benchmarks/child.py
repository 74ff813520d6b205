"""A benchmark in a process of its own, with a database of its own: Django is set up once in each."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from benchmarks.figures import Figure


def figures(module: str, *words: str, environment: Mapping[str, str] = MappingProxyType({})) -> list[Figure]:
    """What `python -m module --child …` prints by `tell`; `environment` may name another database or folder."""
    with tempfile.TemporaryDirectory(prefix="eventflow-bench-") as folder:
        own = os.environ | {"EVENTFLOW_DATA": folder, "DJANGO_SETTINGS_MODULE": "eventflow.settings"}
        own.pop("DATABASE_URL", None)
        command = [sys.executable, "-m", module, "--child", *words]
        done = subprocess.run(command, env=own | environment, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    for said in lines[:-1]:
        print(said)
    return [Figure(**one) for one in json.loads(lines[-1])]


def tell(found: Iterable[Figure]) -> None:
    """For the parent: one line."""
    names = ("name", "value", "unit", "must", "aim", "more")
    print(json.dumps([{name: getattr(one, name) for name in names} for one in found]))


def django() -> None:
    """Set up, with empty tables."""
    import django as library  # noqa: PLC0415  # only in a child, whose settings read the folder made for it
    from django.core.management import call_command  # noqa: PLC0415  # as above

    library.setup()
    call_command("migrate", verbosity=0)
