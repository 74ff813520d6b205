"""A small Celery application of the tests' own; its broker's URL comes from the environment. Never Eventflow's."""

import os

from celery import Celery, Task

app = Celery("shop", broker=os.environ.get("SHOP_BROKER", "redis://127.0.0.1:1/0"))
app.conf.update(
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    task_send_sent_event=True,
    worker_hijack_root_logger=False,
)


@app.task(name="shop.pay")
def pay(order: str) -> None:
    """Works."""


@app.task(name="shop.decline")
def decline(order: str) -> None:
    """Fails at once."""
    raise ValueError(f"card of {order} declined")


@app.task(name="shop.flaky", bind=True, max_retries=1)
def flaky(self: Task, order: str) -> None:
    """Fails, is tried once more, and fails for good."""
    try:
        raise RuntimeError("no gateway")
    except RuntimeError as error:
        raise self.retry(exc=error, countdown=0) from error
