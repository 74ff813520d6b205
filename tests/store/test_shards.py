"""Several ingest processes, each with its shard of the inbox: read as one, summed as one."""

import random
from datetime import timedelta
from importlib import import_module

import pytest
from django.conf import settings

from eventflow.store import spans as store
from eventflow.store.models import Inbox
from eventflow.store.spans.handover import Handover
from eventflow.store.spans.memory import Memory
from tests.flow_factory import publish
from tests.store.support import NOW, send
from tests.store.test_digest import edges, mixed_system, state

pytestmark = pytest.mark.django_db
engine = import_module("eventflow.store.spans.digest")
judging = import_module("eventflow.store.spans.judge")


class Process:
    """What an ingest process has of its own: its shard, its memory."""

    def __init__(self, shard: int) -> None:
        self.shard, self.memory, self.handover = shard, Memory(), Handover()

    def __enter__(self) -> None:
        self._before = (settings.EVENTFLOW_SHARD, engine.memory, engine.handover)
        self._set(self.shard, self.memory, self.handover)

    def __exit__(self, *_: object) -> None:
        self._set(*self._before)

    @staticmethod
    def _set(shard: int, memory: Memory, handover: Handover) -> None:
        settings.EVENTFLOW_SHARD = shard
        engine.memory = judging.memory = memory
        engine.handover = judging.handover = handover


@pytest.mark.parametrize("seed", range(5))
def test_whatever_falls_to_whom_the_sums_and_lines_are_those_of_one_process(seed):
    spans = list(mixed_system())
    send(spans)
    while store.digest(NOW).requests or store.judge(NOW):
        pass
    wanted = state()
    store.prune(NOW + timedelta(days=2))
    chance = random.Random(seed)
    processes = [Process(0), Process(1), Process(2)]
    chance.shuffle(spans)
    while spans:
        size = chance.randint(1, 12)
        with chance.choice(processes):
            send(spans[:size])
            if chance.random() < 0.2:
                send(spans[:size])
        spans = spans[size:]
        for process in chance.sample(processes, 2):
            with process:
                store.digest(NOW, limit=chance.randint(1, 3))
        if chance.random() < 0.3:
            with processes[0]:
                store.judge(NOW)
    for process in reversed(processes):
        with process:
            while store.digest(NOW).requests or (process is processes[0] and store.judge(NOW)):
                pass
    assert state() == wanted


def test_a_request_sent_again_to_another_process_changes_nothing():
    spans = [publish("p", 0, 3, service="web", to="jobs", trace_name="t", correlation="k1")]
    first, second = Process(0), Process(1)
    with first:
        send(spans)
        assert store.digest(NOW).new_spans == 1
    with second:
        send(spans)
        assert store.digest(NOW).new_spans == 0
    before = edges()
    with first:
        send(spans)
        assert store.digest(NOW).new_spans == 0
    assert edges() == before


def test_what_a_process_that_is_gone_has_left_is_digested_by_another():
    with Process(1):
        send([publish("p", 0, 3, service="web", to="jobs", trace_name="t", correlation="k1")])
    with Process(0):
        assert store.digest(NOW).requests == 0, "it may live still"
        assert store.digest(NOW + timedelta(seconds=11)).requests == 1
    assert not Inbox.objects.exists()
