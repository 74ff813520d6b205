"""Letters and replays belong to the flow they name, the trace they carry or the message they hold."""

from datetime import timedelta

import pytest

from eventflow.domain.flow import FlowStatus, LetterStatus, ReplayState
from eventflow.domain.flow_query import FlowQuery
from eventflow.store import spans as store
from eventflow.store.models import DeadLetter, DeadLetterGroup, Edge, FlowRow, Replay, ReplayItem
from eventflow.store.queries import flow_search, flows
from tests.flow_factory import KEY, at, consume, failed_order, ident, link, publish, trace
from tests.store.support import NOW, digest, send


def letter(position: str = "1", **more: object) -> DeadLetter:
    group, _ = DeadLetterGroup.objects.get_or_create(
        fingerprint="f", defaults={"title": "GiftCardBalanceError", "first_at": NOW, "last_at": NOW}
    )
    fields: dict[str, object] = {
        "source": "nats",
        "system": "nats",
        "location": "dlq.payment",
        "position": position,
        "group": group,
        "destination": "orders.placed",
        "consumer_group": "payment",
        "failed_at": at(11_934),
        "captured_at": at(12_000),
        "evidence": {"correlation_id": "header correlation-id"},
    }
    return DeadLetter.objects.create(**{**fields, **more})


def status(key: str = KEY) -> FlowStatus:
    (row,) = flow_search.page(FlowQuery(text=key), None, 2, NOW).rows
    return row.status


@pytest.mark.django_db
@pytest.mark.parametrize(
    "known_by",
    [{"correlation_id": KEY}, {"trace_id": trace("order")}, {"message_id": "ce-1"}],
    ids=lambda x: next(iter(x)),
)
def test_a_letter_is_found_by_any_of_its_ids(known_by):
    send(failed_order())
    digest()
    letter(**known_by)
    found = flows.flow(KEY, NOW)
    assert found is not None
    assert [one.location for one in found.letters] == ["dlq.payment"]
    assert found.status is FlowStatus.DEAD_LETTERED


@pytest.mark.django_db
def test_a_letter_of_another_flow_does_not_come_along():
    send(failed_order())
    digest()
    letter(correlation_id="another", message_id="ce-1")
    found = flows.flow(KEY, NOW)
    assert found is not None
    assert found.letters == ()


@pytest.mark.django_db
def test_a_flow_known_by_its_letter_only_is_a_flow():
    letter(correlation_id="silent", service="payment-service")
    store.refresh_flows(["silent"], NOW)
    assert status("silent") is FlowStatus.DEAD_LETTERED
    found = flows.flow("silent", NOW)
    assert found is not None
    assert found.letters[0].correlation_rule == "header correlation-id"
    assert flows.find("silent") == ["silent"]


@pytest.mark.django_db
def test_the_line_turns_when_the_ledger_says_so():
    send(failed_order())
    digest()
    one = letter(correlation_id=KEY)
    store.refresh_flows([KEY], NOW)
    assert status() is FlowStatus.DEAD_LETTERED
    DeadLetter.objects.filter(pk=one.pk).update(status="replayed")
    store.refresh_flows([KEY], NOW)
    assert status() is FlowStatus.RECOVERED


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["link", "parent"])
def test_a_replayed_message_comes_back_into_its_flow_though_its_trace_names_none(how):
    send(failed_order())
    digest()
    one = letter(correlation_id=KEY)
    ledger = Replay.objects.create(created_at=at(60_000), created_by_name="mona", reason="card service is back")
    ReplayItem.objects.create(
        replay=ledger,
        letter=one,
        token="t",
        state="sent",
        destination="orders.placed",
        trace_id=trace("replay"),
        span_id=ident("replay send"),
        queued_at=at(60_000),
        sent_at=at(60_010),
    )
    came_by = {"links": [link("replay", "replay send")]} if how == "link" else {"parent": "replay send"}
    send(
        [
            consume(
                "again", 60_050, 60_090, service="payment-service", group="payment", from_="orders.placed",
                trace_name="worker" if how == "link" else "replay", correlation=None, **came_by,
            )
        ]
    )  # fmt: skip
    digest()
    found = flows.flow(KEY, NOW)
    assert found is not None
    assert [(one.state, one.by, one.reason) for one in found.replays] == [
        (ReplayState.SENT, "mona", "card service is back")
    ]
    assert found.letters[0].status is LetterStatus.OPEN
    assert any(span.name == "again" for span in found.spans.values())
    assert not FlowRow.objects.exclude(key=KEY).exists()


@pytest.mark.django_db
def test_a_flow_waits_for_the_groups_that_read_the_destination_before():
    for n in range(2):
        start = n * 10_000
        name, key = f"web {n}", f"order-{n}"
        send([publish(f"sent {n}", start, start + 5, service="web", to="jobs", trace_name=name, correlation=key)])
        readers = ("billing", "post") if n == 0 else ("billing",)
        send(
            consume(
                f"{reader} {n}", start + 10, start + 20, service=reader, from_="jobs", group=reader, trace_name=name,
                links=[link(name, f"sent {n}")], correlation=key,
            )
            for reader in readers
        )  # fmt: skip
        digest()
    assert status("order-0") is FlowStatus.COMPLETED
    assert status("order-1") is FlowStatus.WAITING
    found = flows.flow("order-1", NOW)
    assert found is not None
    assert found.roots[0].awaiting == ("post",)


@pytest.mark.django_db
def test_a_group_that_comes_later_makes_no_older_flow_wait():
    test_a_flow_waits_for_the_groups_that_read_the_destination_before()
    Edge.objects.filter(group="post").update(first_ns=2**62)
    store.refresh_flows(["order-1"], NOW + timedelta(minutes=1))
    assert status("order-1") is FlowStatus.COMPLETED


@pytest.mark.django_db
def test_a_letter_known_by_its_trace_only_joins_the_flow_when_the_spans_come():
    letter(trace_id=trace("order"))
    store.refresh_flows([trace("order")], NOW)
    assert status(trace("order")) is FlowStatus.DEAD_LETTERED
    send(failed_order())
    digest()
    assert [row.key for row in flow_search.page(FlowQuery(plumbing=True), None, 9, NOW).rows] == [KEY]
    assert status() is FlowStatus.DEAD_LETTERED
    DeadLetter.objects.update(status="replayed")
    store.refresh_flows([trace("order")], NOW)
    assert status() is FlowStatus.RECOVERED
