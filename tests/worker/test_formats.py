"""One format for all threads of a process: what the receivers scan means the same to the store."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from collectors.otlp.scan.names import Names
from eventflow.store.spans import form
from eventflow.worker import formats

THREADS, TRIES = 8, 40


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def asked_at_once(ask: Callable[[], object]) -> set[int]:
    """How many different things threads get that ask at the same time: their ids."""
    start, found = threading.Barrier(THREADS), list[object]()

    def run() -> None:
        start.wait()
        found.append(ask())

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {id(one) for one in found}


def test_threads_that_ask_at_once_get_the_same_format() -> None:
    for number in range(TRIES):
        assert len(asked_at_once(lambda: formats.otlp((f"key-{number}",), ()))) == 1  # noqa: B023  # asked in this turn


def test_threads_that_ask_at_once_get_the_same_meanings(settings: Any) -> None:
    for number in range(TRIES):
        settings.EVENTFLOW_CORRELATION_KEYS = [f"key-{number}"]
        assert len(asked_at_once(form.meanings)) == 1


class Slow(list[str]):
    """A list that takes its time to look for something."""

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        time.sleep(0.01)
        return found


def test_a_name_that_threads_meet_at_once_has_one_number() -> None:
    names = Names()
    names.identities = Slow(names.identities)
    asked_at_once(lambda: names.position("met.at.once"))
    assert names.identities.count("met.at.once") == 1
