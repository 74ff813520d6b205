"""Processes that only receive hand requests on through memory: whole or not at all, in order, within bounds."""

import itertools
import mmap
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eventflow.domain.observations import SpanBatch
from eventflow.store.spans.handed_on import NAPS, Giver, Takers, giver
from eventflow.store.spans.talk import Talk
from tests.flow_factory import failed_order
from tests.store.conftest import ROOT
from tests.store.pickled import Pickled, encode
from tests.store.support import DAY, NOW, numbered

Opens = Callable[..., tuple[Giver, Takers]]
BIG, PLACES = 2_000_000, 4


def scanned(wire: Pickled | None = None) -> SpanBatch:
    """A request as a receiver emits it."""
    body = encode(failed_order())
    return SpanBatch(body, NOW, columns=(wire or Pickled()).scan(body))


def sized(size: int) -> SpanBatch:
    """One whose body is that large and not like any other."""
    return replace(scanned(), body=random.randbytes(size))


def columns_size() -> int:
    columns = scanned().columns
    return sum(len(value) for name in columns.__slots__ if isinstance(value := getattr(columns, name), bytes))


SIZE = 10_000 + columns_size()
"""What a request of 10,000 bytes takes of the memory."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def opens(stack: ExitStack) -> Opens:
    """A giver on a channel: of a memory of its own, or of the takers that are told."""

    def opened(size: int = BIG, takers: Takers | None = None, **how: Any) -> tuple[Giver, Takers]:
        takers = takers or Takers(size)
        memory, end = map(os.dup, stack.enter_context(takers.channel()))
        stack.callback(os.close, memory)
        here = stack.enter_context(socket.socket(fileno=end))
        return Giver(stack.enter_context(mmap.mmap(memory, 0)), here, **how), takers

    return opened


def taken(takers: Takers, pks: range | list[int]) -> list[int]:
    """Those of them that are there, as a step of the digest takes them."""
    found = [pk for pk in pks if takers.take(pk, NOW) is not None]
    takers.let_go()
    return found


@pytest.mark.parametrize("memory", ["memory", "a file"])
def test_what_is_handed_on_is_taken_once_as_it_was(opens: Opens, monkeypatch: Any, memory: str) -> None:
    if memory == "a file":
        monkeypatch.delattr(os, "memfd_create")
    giver, takers = opens()
    sent = scanned()
    assert sent.columns is not None
    giver.add([(7, sent)])
    body, columns = takers.take(7, NOW) or (b"", sent.columns)
    assert body == sent.body
    assert columns.shapes != sent.columns.shapes, "another process's shapes may mean something else"
    assert replace(columns, shapes=sent.columns.shapes) == sent.columns
    assert takers.take(7, NOW) is None


def test_what_was_not_scanned_or_came_at_another_time_is_none(opens: Opens) -> None:
    giver, takers = opens()
    giver.add([(6, replace(scanned(), columns=None)), (7, scanned())])
    assert takers.take(6, NOW) is None
    assert takers.take(7, NOW + DAY) is None
    assert takers.take(7, NOW) is None


def test_one_shape_is_one_of_each_giver_and_never_of_two(opens: Opens) -> None:
    one, takers = opens()
    other, _ = opens(takers=takers)
    one.add([(1, scanned()), (2, scanned())])
    other.add([(3, scanned())])
    once, again, of_other = (found[1].shapes if (found := takers.take(pk, NOW)) else b"" for pk in (1, 2, 3))
    assert once == again != of_other


def test_names_that_are_numbered_otherwise_here_keep_their_meaning_also_those_met_later(
    opens: Opens, settings: Any
) -> None:
    settings.EVENTFLOW_SEARCH_KEYS = ["shop", "tenant"]
    sender = Pickled()
    sender.names.reverse()
    giver, takers = opens(wire=lambda: sender)
    sent = scanned(sender)
    giver.add([(7, sent)])
    sender.names.append("tenant")
    assert sent.columns is not None
    giver.add([(8, replace(sent, columns=replace(sent.columns, value_names=(2).to_bytes(4, "little"))))])
    first, second = takers.take(7, NOW), takers.take(8, NOW)
    assert first is not None
    assert second is not None
    assert first[1].ident_names == second[1].ident_names == Pickled().scan(sent.body).ident_names != b""
    assert int.from_bytes(second[1].value_names, "little") == 3


def test_names_that_have_no_number_here_leave_all_to_the_inbox(opens: Opens, monkeypatch: Any) -> None:
    def full(_: Pickled, name: str) -> int:
        raise ValueError(f"too many names: {name}")

    monkeypatch.setattr(Pickled, "position", full)
    naps: list[None] = []
    giver, takers = opens(3 * SIZE, nap=lambda: naps.append(None))
    for pk in range(20):
        giver.add([(pk, sized(10_000))])
        assert takers.take(pk, NOW) is None
    assert len(naps) == NAPS, "and nobody waits for it again"


def test_requests_of_all_sizes_come_out_whole_round_and_round(opens: Opens) -> None:
    chance = random.Random(3)
    one, takers = opens(40 * SIZE, nap=lambda: None)
    givers = [one, opens(takers=takers, nap=lambda: None)[0]]
    sent: dict[int, bytes] = {}
    there = 0
    for pk in range(1_000):
        batch = sized(chance.choice([0, 10, 3_000, 10_000, 50_000]))
        sent[pk] = batch.body
        chance.choice(givers).add([(pk, batch)])
        while chance.random() < 0.55 and sent:
            asked = min(sent)
            found = takers.take(asked, NOW)
            body = sent.pop(asked)
            if found is not None:
                there += 1
                assert found[0] == body
            takers.let_go()
    assert there > 300


def test_what_was_taken_lies_there_until_it_is_let_go(opens: Opens) -> None:
    giver, takers = opens(PLACES * SIZE, nap=lambda: None)
    sent = [sized(10_000) for _ in range(PLACES)]
    giver.add(enumerate(sent))
    found = [request[0] for pk in range(PLACES) if (request := takers.take(pk, NOW))]
    giver.add([(10, sized(10_000))])
    assert [bytes(body) for body in found] == [batch.body for batch in sent]
    takers.let_go()
    giver.add([(11, sized(10_000))])
    assert taken(takers, [10, 11]) == [11]


def test_what_was_taken_can_be_read_when_its_channel_is_gone() -> None:
    takers = Takers(BIG)
    sent = scanned()
    with ExitStack() as first:
        memory, end = map(os.dup, first.enter_context(takers.channel()))
        with mmap.mmap(memory, 0) as mapped, socket.socket(fileno=end) as here:
            Giver(mapped, here).add([(1, sent)])
            request = takers.take(1, NOW)
        os.close(memory)
    assert request is not None
    assert request[0] == sent.body


def test_nobody_writes_into_what_was_taken(opens: Opens) -> None:
    giver, takers = opens()
    giver.add([(1, scanned())])
    request = takers.take(1, NOW)
    assert request is not None
    with pytest.raises(TypeError):
        request[0][0] = 1  # type: ignore[index]  # that is the point


def test_what_nobody_takes_is_bounded_and_waited_for_once(opens: Opens) -> None:
    naps: list[None] = []
    giver, takers = opens(PLACES * SIZE, nap=lambda: naps.append(None))
    for pk in range(20):
        giver.add([(pk, sized(10_000))])
    assert len(naps) == NAPS
    assert taken(takers, range(20)) == list(range(PLACES)), "the digest asks for the oldest first"
    for pk in range(20, 40):
        giver.add([(pk, sized(10_000))])
    assert taken(takers, range(20, 40)) == list(range(20, 20 + PLACES))
    assert len(naps) == 2 * NAPS


def test_a_giver_waits_for_a_digest_that_comes(opens: Opens) -> None:
    asked: list[int] = []

    def digest() -> None:
        assert taken(takers, [len(asked)])
        asked.append(len(asked))

    giver, takers = opens(PLACES * SIZE, nap=digest)
    giver.add([(pk, sized(10_000)) for pk in range(20)])
    while len(asked) < 20:
        digest()


def test_what_is_larger_than_the_memory_is_left_out_at_once(opens: Opens) -> None:
    naps: list[None] = []
    giver, takers = opens(PLACES * SIZE, nap=lambda: naps.append(None))
    giver.add([(1, sized(10_000)), (2, sized(PLACES * SIZE)), (3, sized(10_000))])
    assert taken(takers, range(4)) == [1, 3]
    assert not naps


def test_the_whole_memory_is_there_for_one_request_wherever_the_last_one_ended(opens: Opens) -> None:
    giver, takers = opens(PLACES * SIZE)
    for pk in range(6):
        giver.add([(pk, sized(10_000 if pk % 2 else PLACES * SIZE - columns_size()))])
        assert taken(takers, [pk])


def test_what_the_inbox_has_no_more_gives_its_room_back(opens: Opens) -> None:
    giver, takers = opens(PLACES * SIZE, nap=lambda: None)
    giver.add([(pk, sized(10_000)) for pk in range(PLACES)])
    assert takers.take(100, NOW) is None, "they are known from here on"
    takers.forget_before(PLACES)
    takers.let_go()
    giver.add([(pk, sized(10_000)) for pk in range(200, 200 + PLACES)])
    assert taken(takers, [*range(PLACES), *range(200, 200 + PLACES)]) == list(range(200, 200 + PLACES))


def test_what_was_handed_on_after_the_inbox_was_looked_at_is_not_forgotten(opens: Opens) -> None:
    one, takers = opens()
    other, _ = opens(takers=takers)
    one.add([(5, scanned()), (8, scanned())])
    other.add([(4, scanned()), (6, scanned()), (9, scanned())])
    takers.forget_before(5)
    assert taken(takers, [4, 5, 6]) == [4, 5, 6], "nothing was known of them then"
    takers.forget_before(9)
    assert taken(takers, [8, 9]) == [9]


def test_asking_for_one_givers_request_takes_nothing_of_another_one(opens: Opens) -> None:
    one, takers = opens()
    other, _ = opens(takers=takers)
    one.add([(1, scanned()), (2, scanned()), (7, scanned())])
    other.add([(3, scanned())])
    assert taken(takers, [7, 3, 2]) == [7, 3]


def test_word_that_is_not_whole_is_not_heard() -> None:
    here, there = socket.socketpair()
    with here, there:
        talk = Talk(here)
        there.sendall(b'[1]\n["ha')
        assert talk.heard() == [[1]]
        there.sendall(b'lf"]')
        assert talk.heard() == []
        there.sendall(b"\n")
        assert talk.heard() == [["half"]]
        there.sendall(b"[2")
        there.close()
        assert talk.heard() == []


def test_word_waits_for_room_in_the_socket_and_then_comes_in_order(opens: Opens) -> None:
    giver, takers = opens(nap=lambda: None)
    tiny = sized(0)
    giver.add([(pk, tiny) for pk in range(1_000)])
    for pk in range(1_000):
        giver.add([])
        assert takers.take(pk, NOW) is not None, pk


def test_giving_goes_on_when_nobody_is_there_any_more(stack: ExitStack) -> None:
    naps: list[None] = []
    here, there = map(stack.enter_context, socket.socketpair())
    giver = Giver(stack.enter_context(mmap.mmap(-1, PLACES * SIZE)), here, nap=lambda: naps.append(None))
    there.close()
    for pk in range(20):
        giver.add([(pk, sized(10_000))])
    assert len(naps) == NAPS


def test_what_cannot_be_opened_is_left_to_the_inbox(monkeypatch: Any) -> None:
    def full(*_: object) -> int:
        raise OSError("no more descriptors")

    monkeypatch.setattr(socket, "socketpair", full)
    with Takers(BIG).channel() as descriptors:
        assert descriptors == ()
    assert giver(()) is None
    with Path(os.devnull).open() as nothing:
        assert giver((nothing.fileno(), nothing.fileno())) is None


def test_a_channel_is_gone_with_its_process_and_the_next_one_is_new(stack: ExitStack, opens: Opens) -> None:
    takers = Takers(BIG)
    with ExitStack() as first:
        memory, end = map(os.dup, first.enter_context(takers.channel()))
        with mmap.mmap(memory, 0) as mapped, socket.socket(fileno=end) as here:
            Giver(mapped, here).add([(1, scanned()), (2, scanned())])
            assert takers.take(1, NOW) is not None
        os.close(memory)
    assert takers.take(2, NOW) is None
    opens(takers=takers)[0].add([(3, scanned())])
    assert takers.take(3, NOW) is not None


def test_what_processes_handed_on_until_they_were_killed_is_whole() -> None:
    takers = Takers(BIG)
    left = 0
    for seed in range(3):
        with takers.channel() as descriptors, giving(descriptors) as process:
            asked = random.Random(seed).randint(20, 300)
            for pk in range(asked):
                assert taken_when_it_comes(takers, pk) == numbered(pk)
            process.kill()
            process.wait()
            for pk in itertools.count(asked):
                if (request := takers.take(pk, NOW)) is None:
                    break
                assert request[0] == numbered(pk)
                left += 1
    assert left, "some were on their way"


@contextmanager
def giving(descriptors: tuple[int, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that hands numbered requests on without end."""
    own = {"EVENTFLOW_RECEIVER": "1", "EVENTFLOW_HANDED_ON": ",".join(map(str, descriptors))}
    command = [sys.executable, "-m", "tests.store.crash", "give"]
    process = subprocess.Popen(command, env=os.environ | own, cwd=ROOT, pass_fds=descriptors)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def taken_when_it_comes(takers: Takers, pk: int) -> bytes:
    end = time.monotonic() + 30
    takers.let_go()
    while (request := takers.take(pk, NOW)) is None:
        assert time.monotonic() < end
        time.sleep(0.001)
    return bytes(request[0])
