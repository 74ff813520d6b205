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
    assert [kept.take([chunk])[1] for chunk in (1, 2, 3)] == [{1}, {2}, set()]
    # What was taken makes room.
    kept.put(range(4, 5), [body], [columns], np.ones(1, bool))
    assert kept.take([4])[1] == {4}
