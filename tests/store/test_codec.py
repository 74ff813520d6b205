import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventflow.domain.observations import Messaging, Operation, Span, SpanEvent, SpanKind, SpanLink, SpanStatus
from eventflow.store.spans import codec

texts = st.text(st.characters()) | st.sampled_from(["\0", "\ud800", "ü", "a\0b"])
values = st.recursive(
    texts | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary(max_size=20) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
maps = st.dictionaries(texts, values, max_size=4)


def span(**more: object) -> Span:
    fields: dict[str, object] = {
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "parent_id": None,
        "name": "process orders.placed",
        "kind": SpanKind.CONSUMER,
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_000_100_000_000,
        "service": "payment",
    }
    return Span(**{**fields, **more})  # type: ignore[arg-type]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no reason to fail
@given(attributes=maps, resource=maps, name=texts, linked=maps)
def test_any_span_comes_back_as_it_was(attributes, resource, name, linked):
    given_span = span(
        name=name,
        attributes=attributes,
        resource=resource,
        links=(SpanLink("c" * 32, "d" * 16, linked),),
        events=(SpanEvent("exception", 5, attributes),),
    )
    assert codec.decode(codec.encode(given_span)) == given_span


def test_messaging_and_status_come_back_as_enums():
    given_span = span(
        status=SpanStatus.ERROR,
        messaging=Messaging(
            system="nats", operation=Operation.PROCESS, attempt=2, rules={"system": "messaging.system"}
        ),
        correlation_id="order-1",
    )
    found = codec.decode(codec.encode(given_span))
    assert found == given_span
    assert found.messaging is not None
    assert found.messaging.operation is Operation.PROCESS


def test_odd_numbers_come_back():
    found = codec.decode(codec.encode(span(attributes={"nan": float("nan"), "inf": float("-inf"), "huge": 2**80})))
    assert str(found.attributes["nan"]) == "nan"
    assert found.attributes["inf"] == float("-inf")
    assert found.attributes["huge"] == 2**80


def test_a_row_of_another_version_is_refused():
    with pytest.raises(ValueError, match="version"):
        codec.decode(b"\x07" + codec.encode(span())[1:])
