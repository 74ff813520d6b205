"""What waits for the digest in memory: senders are slowed down before any of it is thrown away, and never held up."""

from eventflow.domain.observations import SpanBatch
from eventflow.store.spans.fresh import NAPS, SLOWEST_SECONDS, Fresh
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
        self.fresh = Fresh(ROOM * len(BODY), self._nap)
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

    def take(self) -> None:
        """The oldest, as the digest does."""
        self.fresh.forget_before(self.taken)
        assert self.fresh.take(self.taken, NOW) is not None, "it was not kept"
        self.taken += 1


def test_nobody_waits_while_it_is_half_full() -> None:
    backlog = Backlog(digested=True)
    backlog.send(ROOM // 2)
    assert backlog.naps == []


def test_the_fuller_the_longer_each_request_waits() -> None:
    backlog = Backlog(digested=True)
    backlog.send(ROOM - 2)
    assert backlog.naps == sorted(backlog.naps)
    assert 0 < backlog.naps[0] < backlog.naps[-1] < SLOWEST_SECONDS


def test_everything_is_kept_for_a_digest_at_work() -> None:
    backlog = Backlog(digested=True, at_work=True)
    backlog.send(10 * ROOM)
    while backlog.taken < backlog.sent:
        backlog.take()


def test_without_a_digest_nobody_waits_and_what_comes_first_is_kept() -> None:
    backlog = Backlog(digested=False)
    backlog.send(3 * ROOM)
    assert backlog.naps == []
    kept = [pk for pk in range(backlog.sent) if backlog.fresh.take(pk, NOW)]
    assert kept == list(range(ROOM))


def test_a_digest_that_stopped_is_waited_for_once() -> None:
    backlog = Backlog(digested=True)
    backlog.send(10 * ROOM)
    assert NAPS <= len(backlog.naps) <= NAPS + ROOM


def test_what_another_process_digested_gives_its_room_back() -> None:
    backlog = Backlog(digested=False)
    backlog.send(ROOM)
    backlog.fresh.forget_before(ROOM)
    backlog.send(1)
    assert backlog.fresh.take(ROOM, NOW) is not None
