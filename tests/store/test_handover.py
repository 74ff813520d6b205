"""What the digest hands on to whoever makes lines: bounded, and of use to one who is behind."""

import numpy as np

from eventflow.store.spans import handover
from tests.flow_factory import publish
from tests.store.pickled import Pickled, encode


def test_when_it_is_too_much_the_steps_that_wait_longest_are_kept(monkeypatch):
    body = encode([publish("p", 0, 3, service="web", to="jobs", trace_name="t", correlation="k1")])
    columns = Pickled().scan(body)
    monkeypatch.setattr(handover, "KEPT_BYTES", 2 * len(body))
    kept = handover.Handover()
    for chunk in (1, 2, 3):
        kept.put(range(chunk, chunk + 1), [body], [columns], np.ones(1, bool))
    kept.put(range(5, 8), [body], [columns], np.ones(1, bool))
    assert kept.end_of(6) == 7, "which chunks go together is known of all"
    assert [kept.take([chunk])[1] for chunk in (1, 2, 3)] == [{1}, {2}, set()]
    assert kept.take([5, 6, 7])[1] == set()
    # What was taken makes room.
    kept.put(range(8, 9), [body], [columns], np.ones(1, bool))
    assert kept.take([8])[1] == {8}
