"""Several processes receive and one digests: whatever is handed on, or gets lost, the result is that of one process."""

import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eventflow.domain.observations import SpanBatch
from eventflow.store import spans as store
from eventflow.store.models import Inbox
from eventflow.store.spans import fresh
from eventflow.store.spans.fresh import NAPS, HandedOn
from tests.flow_factory import failed_order
from tests.store.conftest import Run, finish
from tests.store.pickled import Pickled, encode
from tests.store.support import DAY, NOW, send
from tests.store.test_digest import forget_everything, mixed_system, state


def scanned(wire: Pickled | None = None) -> SpanBatch:
    """A request as a receiver emits it."""
    body = encode(failed_order())
    return SpanBatch(body, NOW, columns=(wire or Pickled()).scan(body))


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """The data folder of two ingest processes, of which this one digests."""
    settings.EVENTFLOW_DATA, settings.EVENTFLOW_INGEST_PROCESSES = tmp_path, 2
    store.begin_handing_on()
    return tmp_path / "handed-on"


def receive(settings: Any, spans: Any) -> None:
    """As `send`, in the process that only receives."""
    body = encode(tuple(spans))
    settings.EVENTFLOW_RECEIVER = 1
    store.append([SpanBatch(body, NOW, columns=Pickled().scan(body))])
    settings.EVENTFLOW_RECEIVER = 0


def test_what_is_handed_on_is_taken_once_as_it_was(folder: Path) -> None:
    sent = scanned()
    assert sent.columns is not None
    HandedOn(folder).add([(7, sent)])
    body, columns = fresh.take(7, NOW) or (b"", sent.columns)
    assert body == sent.body
    assert columns.shapes != sent.columns.shapes, "another process's shapes may mean something else"
    assert replace(columns, shapes=sent.columns.shapes) == sent.columns
    assert fresh.take(7, NOW) is None
    assert not list(folder.iterdir())


def test_one_shape_is_one_of_each_writer_and_never_of_two(folder: Path) -> None:
    HandedOn(folder).add([(1, scanned()), (2, scanned())])
    HandedOn(folder).add([(3, scanned())])
    once, again, restarted = (taken[1].shapes if (taken := fresh.take(pk, NOW)) else b"" for pk in (1, 2, 3))
    assert once == again != restarted


def test_names_that_are_numbered_otherwise_here_keep_their_meaning(folder: Path) -> None:
    sender = Pickled()
    sender.names.reverse()
    sent = scanned(sender)
    HandedOn(folder, wire=lambda: sender).add([(7, sent)])
    taken = fresh.take(7, NOW)
    assert taken is not None
    assert taken[1].ident_names != b""
    assert taken[1].ident_names == Pickled().scan(sent.body).ident_names


@pytest.mark.parametrize("damage", ["gone", "cut", "another time"])
def test_what_cannot_be_taken_is_none(folder: Path, damage: str) -> None:
    HandedOn(folder).add([(7, scanned())])
    (file,) = folder.iterdir()
    match damage:
        case "gone":
            file.unlink()
        case "cut":
            file.write_bytes(file.read_bytes()[:-9])
        case _:
            assert fresh.take(7, NOW + DAY) is None
    assert fresh.take(7, NOW) is None


def test_what_nobody_takes_is_bounded_and_waited_for_once(folder: Path) -> None:
    naps: list[None] = []
    handed_on = HandedOn(folder, most_bytes=3 * len(scanned().body), nap=lambda: naps.append(None))
    for pk in range(20):
        handed_on.add([(pk, scanned())])
    assert 0 < len(list(folder.iterdir())) <= 4
    assert fresh.take(19, NOW) is not None
    assert len(naps) == NAPS


def test_a_writer_waits_for_a_digest_that_comes(folder: Path) -> None:
    taken: list[int] = []

    def digest() -> None:
        taken.append(min(int(file.name) for file in folder.iterdir()))
        assert fresh.take(taken[-1], NOW) is not None

    handed_on = HandedOn(folder, most_bytes=3 * len(scanned().body), nap=digest)
    for pk in range(20):
        handed_on.add([(pk, scanned())])
    left = [int(file.name) for file in folder.iterdir()]
    assert sorted([*taken, *left]) == list(range(20)), "nothing was thrown away"


def test_what_an_earlier_run_left_is_forgotten(folder: Path) -> None:
    HandedOn(folder).add([(7, scanned())])
    store.begin_handing_on()
    assert fresh.take(7, NOW) is None


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(5))
def test_whatever_falls_to_whom_the_sums_and_lines_are_those_of_one_process(
    folder: Path, settings: Any, seed: int
) -> None:
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
            chance.choice([send, lambda some: receive(settings, some)])(spans[:size])
        spans = spans[size:]
        for file in folder.iterdir():
            if chance.random() < 0.2:
                file.unlink()
        if chance.random() < 0.6:
            store.digest(NOW, limit=chance.randint(1, 3))
        if chance.random() < 0.3:
            store.judge(NOW)
    while store.digest(NOW).requests or store.judge(NOW):
        pass
    assert state() == wanted
    assert not Inbox.objects.exists()
    assert not list(folder.iterdir())


def test_one_digests_at_a_time_and_another_when_it_was_killed(process: Run) -> None:
    first = process("claim")
    assert first.stdout is not None
    assert first.stdout.readline() == "had\n"
    assert finish(process, "claim", "and go") == "not had\n"
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert finish(process, "claim", "and go") == "had\n"
