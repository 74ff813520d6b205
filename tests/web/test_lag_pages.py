"""The lag pages as people get them."""

import json
import re
from datetime import timedelta

import plotly.graph_objects as go
import pytest
from django.test import Client
from django.utils import timezone

from eventflow.domain.observations import GroupMember, GroupMembers
from eventflow.store.models import ConsumerGroup, LagPoint
from eventflow.store.record import lag_history, observations
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(make.user("viewer"))
    return client


def test_a_recorded_sample_stands_in_the_table_in_messages_and_seconds(viewer: Client) -> None:
    now = timezone.now()
    observations([make.lag_sample("email", now, ready=1204, age=332)], now)
    page = viewer.get("/lag/").content.decode()
    assert "email" in page and "1,204" in page and "5 m 32 s" in page and "told by the broker" in page


def test_unknown_lag_is_a_dash_with_its_reason_never_a_zero(viewer: Client) -> None:
    now = timezone.now()
    observations([make.lag_sample("email", now, ready=None, unknown_reason="not permitted to look")], now)
    page = viewer.get("/lag/").content.decode()
    assert "Unknown" in page and "not permitted to look" in page


def test_a_group_out_of_sight_is_not_said_to_be_steady(viewer: Client) -> None:
    now = timezone.now()
    seen = make.consumer_group("email", seen_at=now, ready=50, age=9, status="slow", trend=0)
    lost = make.consumer_group("billing", seen_at=now, ready=50, age=9, status="unknown", trend=0)
    old = make.consumer_group("audit", seen_at=now - timedelta(hours=1), ready=50, age=9, status="slow", trend=1)
    assert ">steady<" in viewer.get(f"/lag/groups/{seen.pk}/").content.decode()
    for group in (lost, old):
        page = viewer.get(f"/lag/groups/{group.pk}/").content.decode()
        assert "not known now" in page and ">steady<" not in page and "growing" not in page


def test_hostile_group_names_are_only_text(viewer: Client) -> None:
    now = timezone.now()
    observations([make.lag_sample("<script>alert(1)</script>", now, ready=1)], now)
    for url in ("/lag/", "/lag/table/"):
        page = viewer.get(url).content.decode()
        assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_the_table_filters_and_sorts_by_its_address(viewer: Client) -> None:
    now = timezone.now()
    make.consumer_group("email", "emails.requested", seen_at=now, ready=5, age=1)
    make.consumer_group("payment", seen_at=now, ready=9, age=400, status="stopped")
    assert "payment" not in viewer.get("/lag/table/?q=emails.requested").content.decode()
    behind = viewer.get("/lag/table/?status=behind").content.decode()
    assert "payment" in behind and "emails.requested" not in behind
    page = viewer.get("/lag/table/?sort=group").content.decode()
    assert page.index(">email<") < page.index(">payment<") and 'aria-sort="ascending"' in page
    page = viewer.get("/lag/table/?sort=-lag").content.decode()
    assert page.index(">payment<") < page.index(">email<")


def test_a_groups_page_tells_figures_measurement_alerts_and_can_be_read_without_scripts(viewer: Client) -> None:
    now = timezone.now()
    rule = make.alert_rule(name="Email late", pattern="email")
    observations([make.lag_sample("email", now, ready=1204, age=332, in_flight=7, container="EMAILS")], now)
    row = ConsumerGroup.objects.get()
    make.incident(rule, fired_at=now - timedelta(seconds=60))
    page = viewer.get(f"/lag/groups/{row.pk}/?range=15m").content.decode()
    for words in ("5 m 32 s", "1,204", "EMAILS", "told by the broker", "email is 27 s behind", "is older than 15 s"):
        assert words in page
    assert "<caption" in page and "Last 15 min" in page
    part = viewer.get(f"/lag/groups/{row.pk}/", headers={"HX-Request": "true"}).content.decode()
    assert part.startswith('<div id="lag-head"')
    assert viewer.get("/lag/groups/99999/").status_code == 404


@pytest.mark.parametrize("name", ["messages", "seconds", "rates"])
def test_a_chart_is_a_figure_that_plotly_accepts(viewer: Client, name: str) -> None:
    now = timezone.now()
    rule = make.alert_rule(pattern="email", messages=5)
    for second in range(0, 60, 6):
        at = now - timedelta(seconds=60 - second)
        observations([make.lag_sample("email", at, second, second, published_total=second, settled_total=1)], at)
    make.incident(rule, fired_at=now - timedelta(seconds=30))
    figure = viewer.get(f"/lag/groups/{ConsumerGroup.objects.get().pk}/charts/{name}/").json()
    assert len(figure["data"][0]["x"]) == len(figure["data"][0]["y"]) >= 8
    if name != "rates":
        assert [shape["type"] for shape in figure["layout"]["shapes"]] == ["rect", "line"]
    # The theme's tokens become colours in the browser; to Plotly any colour will do here.
    text = re.sub(r"var\(--[\w-]+\)( \d+%)?", "black", json.dumps(figure))
    go.Figure(json.loads(text))


def test_a_chart_of_a_day_is_whole_and_of_a_week_the_peaks_until_one_looks_closer(viewer: Client) -> None:
    group = make.consumer_group("email", seen_at=timezone.now())
    start = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=40)
    LagPoint.objects.bulk_create(
        LagPoint(group=group, at=start + timedelta(seconds=15 * n), ready=40_000 if n == 2_000 else n % 7)
        for n in range(38 * 240)
    )
    lag_history.pack(timezone.now())
    url = f"/lag/groups/{group.pk}/charts/messages/"
    day, week = viewer.get(f"{url}?range=24h").json(), viewer.get(f"{url}?range=7d").json()
    assert day["whole"] and not week["whole"]
    assert len(day["data"][0]["x"]) >= 21 * 240 - 1 and max(week["data"][0]["y"]) == 40_000
    peak = int(start.timestamp() * 1000) + 2_000 * 15_000
    piece = viewer.get(f"{url}?range=7d&from={peak - 600_000}&to={peak + 600_000}").json()
    assert piece["whole"] and dict(zip(piece["data"][0]["x"], piece["data"][0]["y"], strict=True))[peak] == 40_000
    assert 78 <= len(piece["data"][0]["x"]) <= 82
    for odd in ("from=x&to=y", f"from={peak}&to={peak}", "from=-9&to=99999999999999999999", f"from={peak}"):
        assert viewer.get(f"{url}?range=24h&{odd}").json()["whole"]


def test_members_have_a_column_only_where_a_broker_tells_them(viewer: Client) -> None:
    group = make.consumer_group("email", members=None)
    assert "Members" not in viewer.get("/lag/").content.decode()
    group.members = 3
    group.save()
    assert "Members" in viewer.get("/lag/").content.decode()


def test_partitions_members_and_rebalances_are_a_picture_and_tables(viewer: Client) -> None:
    now = timezone.now()
    hostile = "<script>alert(1)</script>"
    for second in (0, 60):
        at = now - timedelta(seconds=90 - second)
        parts = [make.lag_sample("email", at, 9 if n else 900, 3, partition=str(n)) for n in range(6)]
        destination = parts[0].destination
        joined = GroupMember(f"{hostile}-{second}", hostile, "10.0.0.1", ((destination, "0"),))
        observations([*parts, GroupMembers("shop", "nats", "email", at, (joined,))], at)
    row = ConsumerGroup.objects.get()
    page = viewer.get(f"/lag/groups/{row.pk}/?range=15m").content.decode()
    for words in (
        "Lag by partition",
        "Partition 0 holds 95 % of the lag",
        "Members and partitions",
        "Rebalances",
        "heat-5",
    ):
        assert words in page
    assert page.count('aria-hidden="true"') and "The partitions as a table" in page
    assert hostile not in page and "&lt;script&gt;" in page
    figure = viewer.get(f"/lag/groups/{row.pk}/charts/messages/?range=15m").json()
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["rebalance"]


def test_without_partitions_or_members_their_panels_are_left_out(viewer: Client) -> None:
    observations([make.lag_sample("email", timezone.now(), 3, 1)], timezone.now())
    page = viewer.get(f"/lag/groups/{ConsumerGroup.objects.get().pk}/").content.decode()
    assert "Lag by partition" not in page and "Members and partitions" not in page


def test_what_a_broker_tells_of_readers_is_shown_as_text(viewer: Client) -> None:
    at, hostile = timezone.now() - timedelta(seconds=5), "<script>alert(1)</script>"
    observations([make.lag_sample("email", at, 9, 3), make.lag_sample("payment", at, 9, 3)], at)
    one = GroupMember("c1", hostile, "10.0.0.1", in_flight=1234, active_at=at, got_at=at, told=((hostile, hostile),))
    observations(
        [
            GroupMembers("shop", "nats", "email", at, (one,)),
            GroupMembers("shop", "nats", "payment", at, None, told=(("pulls waiting", hostile),), note=hostile),
        ],
        at,
    )
    email, payment = (
        viewer.get(f"/lag/groups/{ConsumerGroup.objects.get(name=name).pk}/").content.decode()
        for name in ("email", "payment")
    )
    for words in ("1 member", "1,234", "Heard of", "got or settled a message", "Who came and went"):
        assert words in email
    assert "Partitions</th>" not in email
    for words in ("not told", "Pulls waiting"):
        assert words in payment
    assert "Who came and went" not in payment
    assert hostile not in email + payment
