"""What waits for the digest in memory: senders are slowed down before it is more than fits, and never held up."""

from eventflow.domain.observations import SpanBatch
from eventflow.store.spans.fresh import AWAY_SECONDS, MOST_TIMES, SLOW_BYTES, Fresh
from tests.flow_factory import failed_order
from tests.store.pickled import Pickled, encode
from tests.store.support import NOW

BODY = encode(failed_order())
ROOM = 20


class Backlog:
    """Room for `ROOM` requests, and whoever sends into it. Each nap is told to the digest, if there is one at work."""

    def __init__(self, *, digested: bool, at_work: bool = False) -> None:
        self.naps: list[float] = []
        self.at_work = at_work
        self.sent = self.taken = 0
        self.now = 0.0
        self.fresh = Fresh(ROOM * len(BODY), self._nap, lambda: self.now)
        if digested:
            self.fresh.forget_before(0)

    def _nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        if self.at_work:
            self.take()

    def send(self, requests: int) -> None:
        for _ in range(requests):
            self.fresh.add([(self.sent, SpanBatch(BODY, NOW, columns=Pickled().scan(BODY)))])
            self.sent += 1

    def take(self) -> bool:
        """The oldest, as the digest does; whether it was kept."""
        self.fresh.forget_before(self.taken)
        found = self.fresh.take(self.taken, NOW)
        self.taken += 1
        return found is not None


def test_nobody_waits_while_it_is_half_full() -> None:
    backlog = Backlog(digested=True)
    backlog.send(ROOM // 2)
    assert backlog.naps == []


def test_the_more_waits_the_longer_each_request_waits_up_to_a_bound() -> None:
    backlog = Backlog(digested=True)
    backlog.send(2 * MOST_TIMES * ROOM)
    assert backlog.naps == sorted(backlog.naps)
    assert 0 < backlog.naps[0] < backlog.naps[ROOM] < backlog.naps[-1] == MOST_TIMES * len(BODY) / SLOW_BYTES


def test_everything_is_kept_for_a_digest_at_work() -> None:
    backlog = Backlog(digested=True, at_work=True)
    backlog.send(10 * ROOM)
    assert all(backlog.take() for _ in range(backlog.sent - backlog.taken))


def test_what_was_not_kept_is_waited_for_too_and_then_all_is_kept_again() -> None:
    backlog = Backlog(digested=True)
    backlog.send(3 * ROOM)
    assert [backlog.take() for _ in range(ROOM + 1)] == [True] * ROOM + [False]
    backlog.naps.clear()
    backlog.send(1)
    assert backlog.naps, "two thirds wait still"
    while backlog.taken < backlog.sent:
        backlog.take()
    backlog.naps.clear()
    backlog.send(ROOM // 2 - 1)
    assert not backlog.naps
    assert all(backlog.take() for _ in range(ROOM // 2 - 1))


def test_without_a_digest_nobody_waits_and_what_comes_first_is_kept() -> None:
    backlog = Backlog(digested=False)
    backlog.send(3 * ROOM)
    assert backlog.naps == []
    assert [backlog.take() for _ in range(3 * ROOM)] == [True] * ROOM + [False] * 2 * ROOM


def test_a_digest_that_looked_at_nothing_for_long_is_not_waited_for() -> None:
    backlog = Backlog(digested=True)
    backlog.send(ROOM)
    backlog.naps.clear()
    backlog.now = AWAY_SECONDS
    backlog.send(ROOM)
    assert not backlog.naps


def test_what_another_process_digested_gives_its_room_back() -> None:
    backlog = Backlog(digested=False)
    backlog.send(ROOM)
    backlog.fresh.forget_before(ROOM)
    backlog.send(1)
    assert backlog.fresh.take(ROOM, NOW) is not None
