"""Edges and their series for any window, out of the sums; the sums stay the same while time makes them coarser."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from eventflow.domain.observations import Span
from eventflow.store import spans as store
from eventflow.store.models import Chunk, Destination, EdgeSlot, FlowPattern, FlowRow, IndexRun
from eventflow.store.queries import topology
from eventflow.store.spans import slots
from tests.flow_factory import EPOCH, at, consume, failed_order, link, publish, trace
from tests.store.support import DAY, NOW, digest, send

SECOND = 1000
START = EPOCH - timedelta(seconds=EPOCH.timestamp() % 60)


def traffic(minutes: int) -> list[Span]:
    """A job every 10 s, each second one failing; each a trace of two."""
    found = []
    for n in range(minutes * 6):
        start = n * 10 * SECOND
        found.append(
            publish(f"p{n}", start, start + 5, service="web", to="jobs", trace_name=f"t{n}", correlation=f"k{n}")
        )
        found.append(
            consume(
                f"c{n}", start + 105, start + 205, service="worker", from_="jobs", group="w", trace_name=f"t{n}",
                links=[link(f"t{n}", f"p{n}")], correlation=f"k{n}", error=("E", "", "") if n % 2 else None,
            )
        )  # fmt: skip
    return found


def numbers(start: datetime, end: datetime) -> dict[str, tuple[int, int, int, int]]:
    return {
        edge.key.kind: (edge.count, edge.errors, edge.processing.total, edge.wait.total)
        for edge in topology.edges(start, end)
    }


@pytest.fixture
def ten_minutes(db: None) -> None:
    send(traffic(10))
    digest()


def test_a_window_has_its_own_sums(ten_minutes):
    assert numbers(START, START + DAY) == {"publish": (60, 0, 60, 0), "consume": (60, 30, 60, 60)}
    in_a_minute = numbers(START + timedelta(minutes=3), START + timedelta(minutes=4))
    assert in_a_minute == {"publish": (6, 0, 6, 0), "consume": (6, 3, 6, 6)}
    assert numbers(START - DAY, START) == {}
    consumed = topology.edges(START, START + DAY)[0]
    assert consumed.wait.p50 == pytest.approx(0.1, rel=0.12)
    assert consumed.processing.p95 == pytest.approx(0.1, rel=0.12)


def test_a_series_has_a_point_for_every_step(ten_minutes):
    series = topology.edge_series(START, START + timedelta(minutes=15), 60)
    points = {key.kind: [point.count for point in values] for key, values in series.items()}
    assert points["publish"] == [5, *[6] * 9, 1, *[0] * 4]
    assert {len(values) for values in series.values()} == {15}
    totals = topology.totals(START, START + timedelta(minutes=15), 60)
    assert [point.published for point in totals] == points["publish"]
    assert sum(point.consumed for point in totals) == 60
    assert sum(point.errors for point in totals) == 30
    assert topology.totals(NOW + DAY, NOW + DAY + timedelta(minutes=2), 60)[0].published == 0


def test_a_window_that_ends_within_a_second_loses_nothing(ten_minutes):
    end = START + timedelta(minutes=20, microseconds=1)
    assert sum(point.published for point in topology.totals(START, end, 7)) == 60


def test_a_publish_to_a_dead_letter_destination_is_an_off_ramp_as_soon_as_that_is_known(db):
    send(failed_order())
    digest()
    assert {e.key.kind for e in topology.edges(NOW - DAY, NOW + DAY) if e.key.destination == "dlq.payment"} == {
        "publish"
    }
    before = sum(point.published for point in topology.totals(NOW - DAY, NOW + DAY, 3600))
    Destination.objects.create(
        source="nats", system="nats", name="dlq.payment", kind="subject", dead_letters_of=["payment"], seen_at=NOW
    )
    kinds = {e.key.kind for e in topology.edges(NOW - DAY, NOW + DAY) if e.key.destination == "dlq.payment"}
    assert kinds == {"dead-letter"}
    assert sum(point.published for point in topology.totals(NOW - DAY, NOW + DAY, 3600)) == before - 1


def test_older_slots_become_minutes_then_hours_and_the_sums_stay(ten_minutes):
    before = numbers(START, START + DAY)
    minute = numbers(START + timedelta(minutes=3), START + timedelta(minutes=4))
    assert store.compact(NOW + timedelta(minutes=30)) == 0
    store.compact(NOW + timedelta(hours=3))
    assert set(EdgeSlot.objects.values_list("seconds", flat=True)) == {60}
    assert numbers(START, START + DAY) == before
    assert numbers(START + timedelta(minutes=3), START + timedelta(minutes=4)) == minute
    store.compact(NOW + timedelta(days=4))
    assert set(EdgeSlot.objects.values_list("seconds", flat=True)) == {3600}
    assert numbers(START - DAY, START + DAY) == before


def test_what_arrives_after_the_slots_were_added_up_is_added_too(ten_minutes):
    store.compact(NOW + timedelta(hours=3))
    late = publish("late", 1, 2, service="web", to="jobs", trace_name="t0", correlation="k0", parent="p0")
    send([late])
    digest()
    before = numbers(START, START + DAY)
    store.compact(NOW + timedelta(hours=3))
    assert numbers(START, START + DAY) == before
    assert set(EdgeSlot.objects.values_list("seconds", flat=True)) == {60}


def test_retention_takes_old_traces_whole_and_leaves_young_ones(ten_minutes):
    before = at(5 * 60 * SECOND)
    assert store.prune(before) == 60
    assert sum(Chunk.objects.values_list("spans", flat=True)) == 60
    assert all(span.end_ns >= before.timestamp() * 1e9 for n in range(60) for span in store.trace_spans(trace(f"t{n}")))
    assert FlowRow.objects.count() == 30
    assert len(store.trace_spans(trace("t45"))) == 2
    assert store.prune(NOW + DAY) == 60
    for model in (Chunk, IndexRun, FlowRow, FlowPattern, EdgeSlot):
        assert not model.objects.exists()


def test_what_is_too_much_goes_the_oldest_first(db):
    for minute in range(3):
        send(one for one in traffic(3) if int(one.name[1:]) // 6 == minute)
        digest()
    sizes = [len(body) for body in Chunk.objects.order_by("last_ns").values_list("body", flat=True)]
    assert store.shrink(sum(sizes)) == 0
    before = numbers(START, START + DAY)
    assert store.shrink(sum(sizes) - 1) == 12
    assert [len(store.trace_spans(trace(f"t{n}"))) for n in (0, 6, 12)] == [0, 2, 2]
    assert set(FlowRow.objects.values_list("key", flat=True)) == {f"k{n}" for n in range(6, 18)}
    assert numbers(START, START + DAY) == before
    assert store.shrink(0) == 24
    assert not FlowRow.objects.exists()


def test_edges_cost_the_same_queries_for_any_window(ten_minutes):
    def cost(window: timedelta) -> int:
        with CaptureQueriesContext(connection) as queries:
            topology.edges(START, START + window)
        return len(queries)

    assert cost(timedelta(minutes=1)) == cost(DAY) <= 5
    assert cost(DAY) <= 4, "what was read once is read again"


def test_edges_show_what_was_written_after_they_were_asked_for(ten_minutes):
    before = numbers(START, START + DAY)
    late = publish("late", 1, 2, service="web", to="jobs", trace_name="new", correlation="k")
    send([late])
    digest()
    assert numbers(START, START + DAY)["publish"][0] == before["publish"][0] + 1
    assert sum(point.published for point in topology.totals(START, START + DAY, 60)) == 61


@pytest.mark.django_db
def test_kept_sums_of_neighbouring_slots_follow_when_one_of_them_changes() -> None:
    def cells(number: int) -> slots.Cells:
        return slots.Cells(np.array([slots.WIDTH + slots.COUNT, 3 * slots.WIDTH]), np.array([number, 1]))

    def counts() -> dict[int, int]:
        stamps = list(EdgeSlot.objects.values_list("at", "seconds", "token"))
        parts = slots.together(lambda: stamps)
        edges, rows = slots.table(slots.neighbours(parts))
        expected = slots.table([part.cells for part in parts])
        assert (edges.tolist(), rows.tolist()) == (expected[0].tolist(), expected[1].tolist())
        return dict(zip(edges.tolist(), rows[:, slots.COUNT].tolist(), strict=True))

    slots.store({(10, at): cells(2) for at in range(0, 1200, 10)})
    assert counts() == counts() == {1: 240, 3: 120}
    slots.store({(10, 300): cells(7)})
    assert counts() == {1: 245, 3: 120}
    EdgeSlot.objects.filter(at__lt=600).delete()
    assert counts() == {1: 120, 3: 60}
