"""Several processes receive and one digests: whatever is handed on, or gets lost, the result is that of one process."""

import mmap
import os
import random
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest
from django.db import DatabaseError, connection

from eventflow.domain.observations import SpanBatch
from eventflow.store import spans as store
from eventflow.store.models import Inbox
from eventflow.store.spans import fresh
from eventflow.store.spans.handed_on import Giver, Takers
from tests.flow_factory import failed_order
from tests.store.conftest import Run, finish
from tests.store.pickled import Pickled, encode
from tests.store.support import NOW, send
from tests.store.test_digest import forget_everything, mixed_system, state


class Receiver:
    """What another process does, here: it receives, and is killed and started again."""

    def __init__(self, settings: Any, monkeypatch: Any) -> None:
        self._settings, self._monkeypatch = settings, monkeypatch
        self._opened = ExitStack()
        self.begin()

    def begin(self) -> None:
        self._opened.close()
        memory, end = map(os.dup, self._opened.enter_context(store.channel()))
        here = self._opened.enter_context(socket.socket(fileno=end))
        giver = Giver(self._opened.enter_context(mmap.mmap(memory, 0)), here, nap=lambda: None)
        os.close(memory)
        self._monkeypatch.setattr(fresh, "_giver", lambda _: giver)

    def receive(self, spans: Any) -> None:
        """As `send`."""
        body = encode(tuple(spans))
        self._settings.EVENTFLOW_RECEIVER = 1
        store.append([SpanBatch(body, NOW, columns=Pickled().scan(body))])
        self._settings.EVENTFLOW_RECEIVER = 0

    def end(self) -> None:
        self._opened.close()


@pytest.fixture
def receiver(settings: Any, monkeypatch: Any) -> Iterator[Receiver]:
    """Beside this process, which digests; a few requests have room in the memory of both."""
    monkeypatch.setattr(fresh, "_takers", Takers(40_000))
    other = Receiver(settings, monkeypatch)
    yield other
    other.end()


@pytest.fixture
def read(monkeypatch: Any) -> list[int]:
    """What the digest has to read out of the inbox."""
    found: list[int] = []
    real = fresh.take

    def take(pk: int, received_at: datetime) -> Any:
        taken = real(pk, received_at)
        found.extend([] if taken else [pk])
        return taken

    monkeypatch.setattr(fresh, "take", take)
    return found


@pytest.mark.django_db
def test_what_is_handed_on_is_not_read_again(receiver: Receiver, read: list[int]) -> None:
    receiver.receive(failed_order())
    receiver.receive(failed_order())
    assert store.digest(NOW).requests == 2
    assert read == []


@pytest.mark.django_db
def test_what_another_machine_digested_is_in_nobodys_way(receiver: Receiver, read: list[int]) -> None:
    for _ in range(40):
        receiver.receive(failed_order())
    Inbox.objects.all().delete()
    for _ in range(2):
        receiver.receive(failed_order())
        assert store.digest(NOW).requests == 1
    assert len(read) == 2, "there was no room yet"
    receiver.receive(failed_order())
    assert store.digest(NOW).requests == 1
    assert len(read) == 2


@pytest.mark.django_db
def test_what_a_failed_step_took_is_read_again_and_gives_its_room_back(receiver: Receiver, read: list[int]) -> None:
    for _ in range(40):
        receiver.receive(failed_order())
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE store_indexrun RENAME TO store_indexrun_away")
        with pytest.raises(DatabaseError):
            store.digest(NOW)
        cursor.execute("ALTER TABLE store_indexrun_away RENAME TO store_indexrun")
    taken, failed = Inbox.objects.count(), len(read)
    assert failed < taken == 40
    receiver.receive(failed_order())
    assert store.digest(NOW).requests == 41
    assert len(read) == failed + 40, "the last one had room"


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(5))
def test_whatever_falls_to_whom_the_sums_and_lines_are_those_of_one_process(receiver: Receiver, seed: int) -> None:
    spans = list(mixed_system())
    send(spans)
    while store.digest(NOW).requests or store.judge(NOW):
        pass
    wanted = state()
    forget_everything()
    chance = random.Random(seed)
    chance.shuffle(spans)
    while spans:
        size = chance.randint(1, 12)
        for _ in range(chance.choice([1, 1, 1, 2])):
            chance.choice([send, receiver.receive])(spans[:size])
        spans = spans[size:]
        if chance.random() < 0.2:
            receiver.begin()
        if chance.random() < 0.6:
            store.digest(NOW, limit=chance.randint(1, 3))
        if chance.random() < 0.3:
            store.judge(NOW)
    while store.digest(NOW).requests or store.judge(NOW):
        pass
    assert state() == wanted
    assert not Inbox.objects.exists()


def test_one_digests_at_a_time_and_another_when_it_was_killed(process: Run) -> None:
    first = process("claim")
    assert first.stdout is not None
    assert first.stdout.readline() == "had\n"
    assert finish(process, "claim", "and go") == "not had\n"
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert finish(process, "claim", "and go") == "had\n"
