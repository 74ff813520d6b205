"""How EVENTFLOW_SOURCES is read."""

import pytest

from eventflow.worker.sources import SourceError, parse, parse_all


@pytest.mark.parametrize(
    ("entry", "name", "url"),
    [
        ("nats://127.0.0.1:4222", "127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("shop=nats://127.0.0.1:4222", "shop", "nats://127.0.0.1:4222"),
        ("nats://me:pa=ss@broker:4222", "broker:4222", "nats://me:pa=ss@broker:4222"),
        (" shop = nats://broker ", "shop", "nats://broker"),
    ],
)
def test_a_source_has_a_name_and_a_url(entry: str, name: str, url: str) -> None:
    assert parse(entry) == (name, url)


@pytest.mark.parametrize("entry", ["broker:4222", "shop=broker", "nats://", "nats://host:port", "a b=nats://host"])
def test_what_cannot_be_understood_says_how_to_write_it(entry: str) -> None:
    with pytest.raises(SourceError):
        parse(entry)


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(SourceError, match="two sources are called a"):
        parse_all(["a=nats://x", "a=nats://y"])


def test_credentials_are_in_no_message_and_no_repr() -> None:
    assert "hunter2" not in repr(parse("shop=nats://me:hunter2@broker:4222"))
    with pytest.raises(SourceError) as caught:
        parse("nats://me:hunter2@broker:port")
    assert "hunter2" not in str(caught.value)


def test_one_clusters_servers_by_comma_stay_one_source() -> None:
    parts = ["shop=kafka://u:p@a:9092", "b:9092?mechanism=PLAIN", "jobs=nats://n:4222"]
    assert [(source.name, source.url) for source in parse_all(parts)] == [
        ("shop", "kafka://u:p@a:9092,b:9092?mechanism=PLAIN"),
        ("jobs", "nats://n:4222"),
    ]
    assert parse("kafka://u:p@a:9092,b:9092").name == "a:9092"
