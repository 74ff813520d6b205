"""Celery on a real Redis or RabbitMQ for tests: a producer here, and a real worker process where one is wanted."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery import Celery

from tests.redis_rabbitmq import RedisServer

ROOT = Path(__file__).resolve().parents[3]


class Shop:
    """Blocking on purpose: tests call it in threads where a loop runs."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.broker = f"redis://127.0.0.1:{server.port}/0"
        self.url = f"celery+{self.broker}"

    def send(self, name: str, count: int = 1, queue: str = "celery", **options: Any) -> list[str]:
        """The task ids."""
        app = Celery("producer", broker=self.broker, set_as_current=False)
        app.conf.update(task_ignore_result=True, task_send_sent_event=True, task_default_queue="celery")
        with app.connection_for_write() as connection, connection.Producer() as producer:
            arguments = [(f"order-{number}",) for number in range(count)]
            return [str(app.send_task(name, one, producer=producer, queue=queue, **options).id) for one in arguments]

    @contextlib.contextmanager
    def worker(self, *options: str) -> Iterator[None]:
        """A worker with events, until the block ends."""
        command = [sys.executable, "-m", "celery", "-A", "tests.collectors.celery.app", "worker", "-E", "-P", "solo"]
        environment = {**os.environ, "SHOP_BROKER": self.broker, "PYTHONPATH": str(ROOT)}
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "-l", "INFO", *options], cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
