"""Transactions one after the other: who waits for SQLite's writer is told that it is free and need not ask again."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
from django.db import connection, transaction

from eventflow.store.spans.turn import writing
from tests.running import until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has many writers"),
]


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that stands for the turn, as if the database lay beside it."""
    monkeypatch.setitem(connection.settings_dict, "NAME", str(tmp_path / "db"))
    return tmp_path / "db.writer"


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Whether the lock could be had at once, and then it is held."""
    with path.open("w") as file:
        had = False
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            had = True
        yield had


def is_free(path: Path) -> bool:
    with locked(path) as had:
        return had


def test_a_turn_lasts_as_long_as_its_transaction(lock: Path) -> None:
    with writing():
        assert not is_free(lock)
        assert connection.in_atomic_block
    assert is_free(lock)


def test_a_turn_ends_with_an_error(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing():
        raise ZeroDivisionError
    assert is_free(lock)
    assert not connection.in_atomic_block


def test_who_has_the_writer_already_waits_for_no_turn(lock: Path) -> None:
    with locked(lock), transaction.atomic(), writing():
        assert connection.in_atomic_block


def test_a_turn_after_a_turn_of_the_same_thread(lock: Path) -> None:
    for _ in range(3):
        with writing():
            assert not is_free(lock)


def test_who_waits_writes_before_who_just_wrote_writes_again(lock: Path) -> None:
    wrote = []

    def other() -> None:
        with writing():
            wrote.append("who waited")
        connection.close()

    thread = Thread(target=other)
    with writing():
        thread.start()
        until(lambda: not is_free(lock.with_name("db.writer-next")), what="the one that waits")
    with writing():
        wrote.append("who wrote before")
    thread.join()
    assert wrote == ["who waited", "who wrote before"]
