"""What libraries leave out is counted once per span, whatever is sent again, and read by library."""

from dataclasses import replace

import pytest

from eventflow.domain.observations import Messaging, Operation
from eventflow.store import spans as store
from eventflow.store.models import LibraryCount
from eventflow.store.queries import instrumentation
from tests.flow_factory import span
from tests.store.support import DAY, NOW, digest, send

pytestmark = pytest.mark.django_db
LACKING = Messaging(
    system="kafka", operation=Operation.PROCESS, destination="orders", rules={"d": "messaging.destination"}
)


def consumer(name: str, said: Messaging | None = LACKING, scope: str = "confluent-kafka"):
    return replace(span(name, 0, 1, service="billing"), scope=scope, messaging=said, correlation_id=None)


def test_a_span_is_counted_once_however_often_it_is_sent():
    for _ in range(2):
        send([consumer("one"), consumer("two"), consumer("not about messages", None)])
        digest()
    send([consumer("three", replace(LACKING, group="g", message_id="m", correlation_id="o-1"))])
    digest()
    found = instrumentation.libraries()
    [library] = found.rows
    assert found.total == 1
    assert (library.service, library.scope, library.dialect) == ("billing", "confluent-kafka", "1.16 or older")
    assert (library.spans, library.consuming) == (3, 3)
    assert library.missing == {"destination": 0, "group": 2, "message_id": 2, "correlation_id": 2}


def test_hostile_names_fit_and_stay_apart():
    send([consumer(name, scope="x\0" * 5_000 + name) for name in ("one", "two")])
    digest()
    assert LibraryCount.objects.count() == 2


def test_a_library_that_is_gone_is_forgotten_with_its_spans():
    send([consumer("one")])
    digest()
    store.prune(NOW - DAY)
    assert LibraryCount.objects.count() == 1
    store.prune(NOW + DAY)
    assert LibraryCount.objects.count() == 0
