"""Dead letters read from real topics: where they lie, what their headers tell, and that reading leaves nothing."""

import pytest

from collectors.kafka import KafkaCollector, collector
from collectors.kafka.parse import raw, text
from eventflow.domain.observations import DeadLetter
from tests.collectors.kafka.shop import LETTER_HEADERS, Shop
from tests.collectors.recorder import Recorder, run_until

pytestmark = pytest.mark.kafka


def watcher(shop: Shop) -> KafkaCollector:
    return collector("shop", shop.server.url, 0.1)


def at(seen: Recorder, topic: str) -> list[DeadLetter]:
    return [letter for letter in seen.letters if letter.location == topic]


async def letters(shop: Shop, topic: str, how_many: int = 1) -> tuple[list[DeadLetter], Recorder]:
    """What is read in this topic, and everything seen until a cycle after that."""

    def enough(seen: Recorder) -> bool:
        return len(at(seen, topic)) >= how_many

    seen = await run_until(watcher(shop), enough, seconds=30)
    return at(seen, topic), seen


async def test_a_letter_is_read_with_its_place_key_and_reason(shop: Shop) -> None:
    topic = shop.topic("orders.placed.dlq", 2)
    shop.publish(topic, partition=1, headers=LETTER_HEADERS, key=b"customer-7", value=b'{"amount": 3}')
    [letter], _ = await letters(shop, topic)
    assert (letter.system, letter.position, letter.key, letter.payload) == (
        "kafka",
        "1:0",
        "customer-7",
        b'{"amount": 3}',
    )
    assert (letter.destination, letter.group, letter.attempts) == ("orders.placed", "payment", 4)
    assert (letter.error_type, letter.correlation_id) == ("shop.payment.GiftCardError", "order-1")
    assert letter.evidence["key"] == "key of the record"


async def test_springs_binary_headers_are_numbers_and_come_back_as_the_same_bytes(shop: Shop) -> None:
    orders = shop.topic("orders")
    topic = shop.topic(f"{orders}-dlt")
    sent = [
        ("kafka_dlt-original-topic", orders.encode()),
        ("kafka_dlt-original-partition", (2).to_bytes(4, "big")),
        ("kafka_dlt-original-offset", (65).to_bytes(8, "big")),
        ("kafka_dlt-original-timestamp", (1_764_086_400_000).to_bytes(8, "big")),
        ("kafka_dlt-original-consumer-group", b"payment"),
        ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
        ("kafka_dlt-exception-cause-fqcn", b"shop.GiftCardException"),
        ("kafka_deliveryAttempt", (4).to_bytes(4, "big")),
    ]
    shop.publish(topic, headers=sent)
    [letter], _ = await letters(shop, topic)
    assert letter.convention == "Spring for Apache Kafka"
    assert (letter.destination, letter.group, letter.attempts) == (orders, "payment", 4)
    assert letter.error_type == "shop.GiftCardException"
    assert letter.published_at is not None
    assert letter.published_at.timestamp() == 1_764_086_400
    assert [(name, raw(value)) for name, value in letter.headers] == sent


async def test_only_headers_prove_letters_in_a_topic_whose_name_says_little(shop: Shop) -> None:
    failed, plain = shop.topic("checkout-failed"), shop.topic("checkout-rejected-coupons")
    shop.publish(failed, headers=LETTER_HEADERS)
    shop.publish(failed, headers=[("x-retry-count", b"1")])
    shop.publish(plain)
    found, seen = await letters(shop, failed)
    await run_until(watcher(shop), lambda s: at(s, failed), recorder=seen, seconds=30)
    assert {letter.position for letter in found} == {"0:0"}
    assert at(seen, plain) == []
    assert seen.destination(plain).dead_letters_of == ()


async def test_a_topic_of_any_name_is_found_by_the_headers_of_its_newest_record(shop: Shop) -> None:
    topic = shop.topic("hospital")
    shop.publish(topic, 3, headers=LETTER_HEADERS)
    found, _ = await letters(shop, topic, 3)
    assert [letter.position for letter in found] == ["0:0", "0:1", "0:2"]


async def test_the_topics_name_tells_what_the_headers_leave_out(shop: Shop) -> None:
    orders = shop.topic("orders")
    bare = shop.create(f"{orders}.dlq")
    shop.publish(bare)
    [letter], seen = await letters(shop, bare)
    assert (letter.destination, letter.convention) == (orders, "none (by name)")
    assert letter.evidence["destination"] == f"name of {bare}"
    assert seen.destination(bare).dead_letter_certainty == "by-name"


async def test_a_deletion_mark_and_a_payload_too_large_to_keep_are_said(shop: Shop) -> None:
    topic = shop.topic("orders.dlq")
    shop.publish(topic, value=None)
    shop.publish(topic, value=b"x" * 300_000)
    (mark, large), _ = await letters(shop, topic, 2)
    assert (mark.payload, mark.payload_size) == (None, 0)
    assert "no value" in (mark.payload_note or "")
    assert (len(large.payload or b""), large.payload_size) == (256 * 1024, 300_000)
    assert "truncated" in (large.payload_note or "")


async def test_reading_goes_on_from_the_cursor(shop: Shop) -> None:
    topic = shop.topic("orders.dlq")
    shop.publish(topic, 2)
    first = watcher(shop)
    await run_until(first, lambda seen: len(at(seen, topic)) == 2, seconds=30)
    shop.publish(topic)
    second = collector("shop", shop.server.url, 0.1, resume=first.cursors)
    seen = await run_until(second, lambda seen: at(seen, topic), seconds=30)
    assert [letter.position for letter in at(seen, topic)] == ["0:2"]


@pytest.mark.parametrize("value", [b"plain", b"", b"\x00\x00\x00\x02", b"\xff\xfe", b"base64:x", "Zürich".encode()])
def test_every_header_value_survives_as_text(value: bytes) -> None:
    shown = text(value)
    assert raw(shown) == value
    assert "\x00" not in shown


async def test_how_long_a_topic_keeps_letters_is_told_and_that_a_compacted_one_keeps_only_the_newest(
    shop: Shop,
) -> None:
    topic = shop.topic("orders.dlq", config={"retention.ms": "3600000"})
    for_ever = shop.topic("payments.dlq", config={"retention.ms": "-1"})
    compacted = shop.topic("emails.dlq", config={"cleanup.policy": "compact"})
    plain = shop.topic("orders")

    def told(seen: Recorder) -> bool:
        return bool(seen.destination(plain) and seen.destination(topic).kept_seconds)

    seen = await run_until(watcher(shop), told, seconds=30)
    kept = {name: seen.destination(name).kept_seconds for name in (topic, for_ever, compacted, plain)}
    assert kept == {topic: 3600.0, for_ever: None, compacted: None, plain: None}
    lost = seen.destination(compacted).letters_lost
    assert lost == "the topic is compacted: of the letters with one key only the newest stays"
    assert seen.destination(topic).letters_lost is None
