"""The store's tests once more, on a real PostgreSQL of their own: same models, same promises."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.required import missing
from tests.services import PostgresServer, postgres_binaries

HERE = Path(__file__).parent


@pytest.mark.postgres
@pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="runs on the database of DATABASE_URL already")
def test_the_store_keeps_its_promises_on_postgresql() -> None:
    if postgres_binaries() is None:
        missing("postgres", "half of the store's promises are unproved")
    # Not below pytest's folder: the run inside closes that to other users, and the server is one.
    folder = Path(tempfile.mkdtemp(prefix="eventflow-postgres-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "cluster").start()
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE)],
            env={**os.environ, "DATABASE_URL": server.url},
            cwd=HERE.parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
