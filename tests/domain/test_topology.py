"""The topology joins what spans saw with what the broker is configured with, and names the rule behind each verdict."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventflow.domain.edge import EdgeKey, EdgeKind, EdgeStats, Histogram
from eventflow.domain.topology import build
from eventflow.domain.topology_model import DestinationInfo, GroupLag, LetterCount, Topology

NOW = datetime(2026, 11, 19, 14, 32, 10, tzinfo=UTC)
START = NOW - timedelta(seconds=60)
ORDERS, PAYMENT = "destination:nats:orders.placed", "service:payment-service"


def seen(
    kind: EdgeKind, service: str, destination: str, group: str = "", count: int = 600, *, errors: int = 0, **given: Any
) -> EdgeStats:
    wait, processing = Histogram(), Histogram()
    for _ in range(count if kind == "consume" else 0):
        wait.add(80_000_000)
        processing.add(30_000_000)
    key = EdgeKey(kind, service, "nats", destination, group)
    return EdgeStats(key, count, errors, processing, wait, given.get("first_at", START), NOW)


def lag(name: str, destination: str, **given: Any) -> GroupLag:
    values: dict[str, Any] = {"pk": 1, "source": "shop", "system": "nats", "subscriptions": (destination,), "ready": 0}
    return GroupLag(name=name, destination=destination, **{**values, **given})


def topology(
    *edges: EdgeStats,
    groups: tuple[GroupLag, ...] = (),
    places: tuple[DestinationInfo, ...] = (),
    letters: tuple[LetterCount, ...] = (),
) -> Topology:
    return build(edges, groups, places, letters, window_seconds=60, now=NOW)


def subject(name: str, **given: Any) -> DestinationInfo:
    return DestinationInfo("shop", "nats", name, "subject", **given)


SHOP = (seen("publish", "checkout", "orders.placed"), seen("consume", "payment-service", "orders.placed", "payment"))


def test_a_service_leads_over_a_destination_to_a_group_docked_in_its_service() -> None:
    made = topology(*SHOP)
    assert [one.name for one in made.services] == ["checkout", "payment-service"]
    published, consumed = made.edges
    assert (published.source, published.target) == ("service:checkout", ORDERS)
    assert (consumed.source, consumed.target) == (ORDERS, PAYMENT)
    assert made.service(PAYMENT).groups[0].id == consumed.port  # type: ignore[union-attr]  # it is there


def test_rate_errors_wait_processing_and_lag_stand_on_the_same_edge() -> None:
    edge = topology(
        seen("consume", "payment-service", "orders.placed", "payment", errors=3),
        groups=(lag("payment", "orders.placed", ready=70, age_seconds=4.0, trend=1),),
    ).edges[0]
    assert edge.rate == 10.0 and edge.error_ratio == 0.005
    assert edge.wait_p50 == pytest.approx(0.08, rel=0.1) and edge.wait_p95 == pytest.approx(0.08, rel=0.1)
    assert edge.processing_p95 == pytest.approx(0.03, rel=0.1)
    assert (edge.lag, edge.age_seconds, edge.trend, edge.evidence) == (70, 4.0, 1, "both")


def test_a_configured_group_without_spans_docks_in_a_ghost_named_after_it() -> None:
    made = topology(SHOP[0], groups=(lag("loyalty", "orders.placed"),))
    ghost = made.service("service:loyalty")
    assert ghost is not None and not ghost.known
    assert [edge.evidence for edge in made.edges] == ["seen", "configured"]


def test_a_wildcard_filter_connects_to_every_known_subject_it_covers() -> None:
    made = topology(
        *SHOP,
        seen("publish", "checkout", "orders.cancelled"),
        seen("publish", "checkout", "emails.requested"),
        groups=(lag("audit", "orders.>", service="audit-log", ready=5),),
    )
    reads = {edge.destination for edge in made.edges if edge.group == "audit"}
    assert reads == {"orders.placed", "orders.cancelled"}
    # Its lag is one number for all of them, so no single edge claims it.
    assert {edge.lag for edge in made.edges if edge.group == "audit"} == {None}
    assert made.service("service:audit-log").groups[0].lag == 5  # type: ignore[union-attr]  # it is there


def test_a_dead_letter_destination_is_an_off_ramp_and_no_node() -> None:
    made = topology(
        *SHOP,
        seen("publish", "payment-service", "dlq.payment", count=4),
        groups=(lag("payment", "orders.placed"),),
        places=(subject("dlq.payment", dead_letters_of=("payment",)), subject("orders.placed")),
        letters=(LetterCount("nats", "dlq.payment", "orders.placed", "payment", "", 12, 3),),
    )
    assert [place.name for place in made.places] == ["orders.placed"]
    ramp = made.service(PAYMENT).ramp  # type: ignore[union-attr]  # it is there
    assert ramp is not None and (ramp.waiting, ramp.arriving, ramp.evidence) == (12, 3, "both")
    assert made.edges[-1].kind == "dead-letter" and made.edges[-1].health.rule == "arriving now"


def test_a_queue_that_is_its_own_group_is_no_node_beside_the_key_that_feeds_it() -> None:
    queue = lag("payment", "payment", subscriptions=("payment", "orders.placed"), ready=7)
    made = topology(*SHOP, groups=(queue,), places=(subject("payment"),))
    assert [one.name for one in made.places] == ["orders.placed"]
    edge = next(one for one in made.edges if one.kind == "consume")
    assert (edge.evidence, edge.lag) == ("both", 7)
    direct = topology(*SHOP, seen("publish", "backfill", "payment"), groups=(queue,), places=(subject("payment"),))
    assert [one.name for one in direct.places] == ["orders.placed", "payment"]  # somebody publishes to it by its name
    unseen = topology(groups=(queue,), places=(subject("payment"),))
    assert [one.name for one in unseen.places] == ["payment"]


def test_letters_that_cannot_arrive_are_told_at_the_off_ramp_of_whose_they_are() -> None:
    made = topology(
        *SHOP,
        groups=(lag("payment", "orders.placed"), lag("email", "emails")),
        places=(subject("orders.placed", letters_trouble="there is no exchange x"), subject("emails")),
    )
    ramp = made.service(PAYMENT).ramp  # type: ignore[union-attr]  # it is there
    assert ramp is not None and ramp.troubles == ("orders.placed: there is no exchange x",)
    assert (ramp.health.level, ramp.health.rule) == ("warn", "orders.placed: there is no exchange x")
    assert [one.ramp for one in made.services if one.name != "payment-service"] == [None, None]
    edge = made.edge("dead-letter:payment-service")
    assert edge is not None and edge.health.level == "warn"


def test_what_becomes_of_a_stream_of_letters_is_told_at_the_off_ramps_of_its_subjects() -> None:
    dlq = DestinationInfo("shop", "nats", "DLQ", "stream", dead_letters_of=("payment",), letters_trouble="it is full")
    made = topology(
        *SHOP,
        groups=(lag("payment", "orders.placed"),),
        places=(dlq, subject("dlq.payment", container="DLQ", dead_letters_of=("payment",))),
        letters=(LetterCount("nats", "dlq.payment", "orders.placed", "payment", "payment-service", 3, 1),),
    )
    ramp = made.service(PAYMENT).ramp  # type: ignore[union-attr]  # it is there
    assert ramp is not None and (ramp.waiting, ramp.troubles) == (3, ("DLQ: it is full",))
    assert ramp.health.level == "crit"  # letters that arrive come first


def test_an_off_ramp_that_is_only_configured_has_nothing_waiting() -> None:
    made = topology(
        *SHOP,
        groups=(lag("payment", "orders.placed"),),
        places=(subject("dlq.payment", dead_letters_of=("payment",)),),
    )
    ramp = made.service(PAYMENT).ramp  # type: ignore[union-attr]  # it is there
    assert ramp is not None and (ramp.waiting, ramp.evidence) == (0, "configured")


@pytest.mark.parametrize(
    ("given", "level", "rule"),
    [
        ({"age_seconds": 31.0}, "warn", "oldest waiting over 30 s"),
        ({"age_seconds": 301.0}, "crit", "oldest waiting over 5 min"),
        ({"status": "stalled", "reason": "no progress for over 60 s"}, "crit", "no progress for over 60 s"),
        ({"status": "slow", "reason": "lag growing for a minute"}, "warn", "lag growing for a minute"),
        ({"firing": "payment is late", "firing_level": "crit", "age_seconds": 1.0}, "crit", "payment is late"),
        ({"status": "unknown", "reason": "no sample came any more", "age_seconds": 900.0}, "ok", ""),
        ({"status": "idle"}, "ok", ""),
    ],
)
def test_every_verdict_names_its_rule(given: dict[str, Any], level: str, rule: str) -> None:
    made = topology(*SHOP, groups=(lag("payment", "orders.placed", **given),))
    row = made.service(PAYMENT).groups[0]  # type: ignore[union-attr]  # it is there
    assert (row.health.level, row.health.rule) == (level, rule)


def test_failures_need_to_be_a_share_before_they_colour_an_edge() -> None:
    def health(count: int, errors: int) -> tuple[str, str]:
        edge = topology(seen("consume", "payment-service", "orders.placed", "payment", count, errors=errors)).edges[0]
        return edge.health.level, edge.health.rule

    assert health(600, 3) == ("ok", "")
    assert health(1, 1) == ("ok", "")
    assert health(600, 30) == ("warn", "5 % of 600 failed")
    assert health(600, 300) == ("crit", "50 % of 600 failed")


def test_a_service_is_as_healthy_as_its_worst_group_and_says_which() -> None:
    made = topology(*SHOP, groups=(lag("payment", "orders.placed", age_seconds=400.0),))
    verdict = made.service(PAYMENT).health  # type: ignore[union-attr]  # it is there
    assert (verdict.level, verdict.rule) == ("crit", "consumer group payment: oldest waiting over 5 min")


def test_a_group_on_two_destinations_is_one_row_with_its_lag_summed() -> None:
    made = topology(
        seen("consume", "audit-log", "a", "audit"),
        seen("consume", "audit-log", "b", "audit"),
        groups=(lag("audit", "a", pk=1, ready=3), lag("audit", "b", pk=2, ready=4)),
    )
    (service,) = made.services
    assert service.groups[0].lag == 7 and service.groups[0].pk == 2
    assert {edge.destination: edge.lag for edge in made.edges} == {"a": 3, "b": 4}


def test_spans_that_name_no_group_find_the_only_one_that_reads_for_them() -> None:
    made = topology(
        seen("consume", "payment-service", "orders.placed"), groups=(lag("payment", "orders.placed", ready=9),)
    )
    assert [(edge.group, edge.lag, edge.evidence) for edge in made.edges] == [("payment", 9, "both")]


def test_a_young_system_is_measured_over_its_age() -> None:
    young = seen("publish", "checkout", "orders.placed", count=100, first_at=NOW - timedelta(seconds=20))
    assert topology(young).edges[0].rate == 5.0


def test_what_was_seen_before_stays_in_the_graph_and_is_idle() -> None:
    before = EdgeKey("publish", "newsletter", "nats", "emails.requested")
    made = build(SHOP, [], [], [], window_seconds=60, now=NOW, known=[before, SHOP[0].key])
    quiet = made.edge("publish:newsletter:nats:emails.requested")
    assert quiet is not None and (quiet.rate, quiet.health.level) == (0.0, "idle")
    assert made.edges[0].rate == 10.0 and len(made.edges) == 3


def test_the_brokers_own_subjects_stay_out() -> None:
    made = topology(*SHOP, groups=(lag("operator", "$JS.EVENT.ADVISORY.>"),))
    assert [one.name for one in made.services] == ["checkout", "payment-service"]


def test_the_same_input_gives_the_same_graph_in_any_order() -> None:
    groups = (lag("payment", "orders.placed"), lag("audit", "orders.>"))
    assert topology(*SHOP, groups=groups) == topology(*reversed(SHOP), groups=tuple(reversed(groups)))
