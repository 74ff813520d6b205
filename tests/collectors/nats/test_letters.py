"""Dead letters and given-up messages, captured from a real server without touching it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from nats.js import JetStreamContext

import collectors
from collectors.base import REPLAY_HEADER
from collectors.nats import collector, letters
from eventflow.domain.observations import DeadLetter
from tests.collectors.nats.shop import ADVISORIES, LETTER_HEADERS, connection, consumer
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.services import NatsServer

pytestmark = pytest.mark.nats


async def orders_with_a_consumer(js: JetStreamContext, *, keep_advisories: bool, max_deliver: int = 2) -> None:
    await js.add_stream(name="ORDERS", subjects=["orders.>"])
    await consumer(js, "ORDERS", "payment", "orders.placed", max_deliver=max_deliver, ack_wait=0.3)
    if keep_advisories:
        await js.add_stream(name="ADVISORIES", subjects=ADVISORIES)


async def give_up(js: JetStreamContext) -> None:
    """The first message fails twice and the broker gives it up; the second is terminated by the application."""
    await js.publish("orders.placed", b"poison", headers={"correlation-id": "order-9", "ce-id": "e9"})
    reading = await js.pull_subscribe_bind("payment", "ORDERS")
    for _ in range(2):
        await (await reading.fetch(1))[0].nak()
    with pytest.raises(TimeoutError):
        await reading.fetch(1, timeout=0.5)
    await js.publish("orders.placed", b"refused")
    await (await reading.fetch(1))[0].term()
    with pytest.raises(TimeoutError):
        await reading.fetch(1, timeout=0.2)


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "GRACE", letters.GRACE * 0)


async def test_a_dead_letter_is_captured_whole_with_the_evidence_for_each_field(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await js.publish("dlq.payment", b'{"order": 1}', headers=LETTER_HEADERS)
    found = await run_until(collector("shop", nats_server, 0.1), one_cycle)
    (letter,) = found.letters
    assert (letter.location, letter.position, letter.payload) == ("dlq.payment", "1", b'{"order": 1}')
    assert (letter.destination, letter.group) == ("orders.placed", "payment")
    assert (letter.error_type, letter.error_message) == ("shop.payment.GiftCardError", "gift card 7 has no balance")
    assert (letter.attempts, letter.correlation_id, letter.message_id) == (4, "order-1", "event-1")
    assert letter.failed_at == datetime(2026, 11, 25, 15, 0, 7, 500_000, UTC)
    assert (letter.trace_id, letter.span_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert letter.evidence["error_type"] == "header x-exception-type"
    assert ("ce-type", "orders.placed") in letter.headers
    assert found.destination("dlq.payment").dead_letter_certainty == "by-name"


async def test_the_operators_own_header_names_the_flow(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await js.publish("dlq.payment", b"{}", headers=LETTER_HEADERS | {"tenant-order": "T7"})
    looking = collectors.from_url("shop", nats_server, seconds=0.1, correlation_keys=["tenant-order"])
    (letter,) = (await run_until(looking, one_cycle)).letters
    assert letter.correlation_id == "T7"


async def test_a_place_whose_letters_name_their_origin_is_told_as_theirs(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await js.publish("dlq.payment", b"{}", headers=LETTER_HEADERS)
    found = await run_until(
        collector("shop", nats_server, 0.1),
        lambda seen: seen.destination("dlq.payment").dead_letters_of != ("payment",),
    )
    assert found.destination("dlq.payment").dead_letters_of == ("orders.placed", "payment")


async def test_a_place_that_is_not_named_so_is_proved_by_headers_and_ordinary_messages_there_are_none(
    nats_server: str,
) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="PARKING", subjects=["parking.>", "payments.failed"])
        await js.publish("payments.failed", b"an ordinary event of the shop")
        await js.publish("parking.lot", b"no letter")
        await js.publish("parking.lot", b"letter", headers=LETTER_HEADERS)
    found = await run_until(collector("shop", nats_server, 0.1), one_cycle)
    assert [letter.payload for letter in found.letters] == [b"letter"]


async def test_a_given_up_message_is_told_from_the_stream_that_keeps_advisories(
    nats_server: str, no_grace: None
) -> None:
    async with connection(nats_server) as (_, js):
        await orders_with_a_consumer(js, keep_advisories=True)
        await give_up(js)
    found = await run_until(collector("shop", nats_server, 0.1), one_cycle)
    gave_up, terminated = sorted(found.letters, key=lambda letter: letter.position)
    assert (gave_up.location, gave_up.position, gave_up.payload) == ("ORDERS", "1/payment", b"poison")
    assert (gave_up.error_type, gave_up.error_message) == (None, "gave up after 2 deliveries")
    assert (gave_up.destination, gave_up.group, gave_up.attempts) == ("orders.placed", "payment", 2)
    assert (gave_up.correlation_id, gave_up.message_id, gave_up.convention) == ("order-9", "e9", "nats advisory")
    assert (terminated.payload, terminated.error_message) == (b"refused", "terminated after 1 deliveries")
    assert found.status.message == ""


async def test_without_such_a_stream_advisories_are_heard_while_connected_and_the_status_says_so(
    nats_server: str, no_grace: None
) -> None:
    async with connection(nats_server) as (_, js):
        await orders_with_a_consumer(js, keep_advisories=False)
        recorder = Recorder()

        async def act() -> None:
            await recorder.until(one_cycle)
            await give_up(js)

        acts = asyncio.create_task(act())
        both = await run_until(
            collector("shop", nats_server, 0.1), lambda seen: len(seen.letters) == 2, recorder=recorder
        )
        await acts
    assert {letter.payload for letter in both.letters} == {b"poison", b"refused"}
    assert "only while connected" in both.status.message


async def test_a_terminated_message_that_lies_in_a_dead_letter_subject_is_told_once(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await orders_with_a_consumer(js, keep_advisories=True)
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await js.publish("orders.placed", b"refused")
        reading = await js.pull_subscribe_bind("payment", "ORDERS")
        message = (await reading.fetch(1))[0]
        await message.term()
        recorder = Recorder()
        looking = collector("shop", nats_server, 0.1)
        await run_until(looking, one_cycle, recorder=recorder)
        assert recorder.letters == []  # the advisory waits: the application may still write its letter
        await js.publish("dlq.payment", message.data, headers=LETTER_HEADERS)

    def past_the_grace(seen: Recorder) -> bool:
        return looking.cursors.get("advisories:ADVISORIES:MSG_TERMINATED", 0) >= 1

    await run_until(looking, past_the_grace, recorder=recorder)
    assert [letter.location for letter in recorder.letters] == ["dlq.payment"]


async def test_a_letter_without_stream_and_sequence_is_joined_by_the_messages_own_id(
    nats_server: str, no_grace: None
) -> None:
    event = {"ce-id": "e1", "correlation-id": "order-1"}
    async with connection(nats_server) as (_, js):
        await orders_with_a_consumer(js, keep_advisories=True)
        await js.add_stream(name="SHARED", subjects=["shared.>", "dlq.>"])
        await js.publish("orders.placed", b"refused", headers=event)
        await js.publish("orders.placed", b"refused again, after a replay", headers=event | {REPLAY_HEADER: "token"})
        reading = await js.pull_subscribe_bind("payment", "ORDERS")
        for message in await reading.fetch(2):
            await message.term()
        await js.publish("dlq.payment", b"refused", headers=event | {"x-error": "no balance"})
        await js.publish("shared.other", b"no letter")
    found = await run_until(
        collector("shop", nats_server, 0.1),
        lambda seen: seen.destination("dlq.payment").dead_letters_of and seen.letters[1],
    )
    assert [letter.payload for letter in found.letters] == [b"refused", b"refused again, after a replay"]
    assert [letter.location for letter in found.letters] == ["dlq.payment", "ORDERS"]


async def test_a_letter_that_was_replayed_and_failed_again_tells_its_token(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await js.publish("dlq.payment", b"{}", headers=LETTER_HEADERS | {REPLAY_HEADER: "token-1"})
    (letter,) = (await run_until(collector("shop", nats_server, 0.1), one_cycle)).letters
    assert letter.replay_token == "token-1"


async def test_a_given_up_message_that_is_gone_is_still_told_and_says_so(nats_server: str, no_grace: None) -> None:
    async with connection(nats_server) as (_, js):
        await orders_with_a_consumer(js, keep_advisories=True)
        await give_up(js)
        await js.purge_stream("ORDERS")
    found = await run_until(collector("shop", nats_server, 0.1), one_cycle)
    assert [letter.payload for letter in found.letters] == [None, None]
    assert all(letter.payload_note and "no longer" in letter.payload_note for letter in found.letters)


async def test_a_huge_payload_is_cut_and_its_true_size_told(nats_process: Callable[..., NatsServer]) -> None:
    server = nats_process()
    async with connection(server.url) as (_, js):
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await js.publish("dlq.payment", b"x" * 600_000, headers=LETTER_HEADERS)
    (letter,) = (await run_until(collector("shop", server.url, 0.1), one_cycle)).letters
    assert letter.payload is not None
    assert (len(letter.payload), letter.payload_size) == (letters.MAX_PAYLOAD, 600_000)
    assert letter.payload_note
    assert "truncated" in letter.payload_note


async def test_bytes_in_headers_and_payload_survive(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await js.publish("dlq.payment", b"\x00\xff", headers=LETTER_HEADERS | {"x-note": "naïve ✓"})
    (letter,) = (await run_until(collector("shop", nats_server, 0.1), one_cycle)).letters
    assert letter.payload == b"\x00\xff"
    assert ("x-note", "naïve ✓") in letter.headers


async def test_reading_goes_on_from_its_cursor_and_a_resumed_collector_offers_the_same_letters(
    nats_server: str,
) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        for number in range(120):
            await js.publish("dlq.payment", b"%d" % number, headers=LETTER_HEADERS)
        first = collector("shop", nats_server, 0.1)
        found = await run_until(first, one_cycle)
        assert [letter.position for letter in found.letters] == [str(n) for n in range(1, 121)]
        await js.publish("dlq.payment", b"new", headers=LETTER_HEADERS)
        assert [one.payload for one in (await run_until(first, one_cycle)).letters] == [b"new"]
    again = await run_until(collector("shop", nats_server, 0.1, resume=first.cursors), one_cycle)
    assert identities(again.letters) <= identities(found.letters) | {("shop", "dlq.payment", "121")}


def identities(found: list[DeadLetter]) -> set[tuple[str, str, str]]:
    return {(letter.source, letter.location, letter.position) for letter in found}


async def test_a_stream_of_letters_tells_how_long_and_how_many_it_keeps(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="DLQ", subjects=["dlq.>"], max_age=3600, max_msgs=2, discard="new")
        await js.add_stream(name="MIXED", subjects=["orders.>", "errors.dlq"], max_age=60)
        await js.publish("dlq.payment", b"1", headers=LETTER_HEADERS)
        await js.publish("orders.placed", b"1")
        await js.publish("errors.dlq", b"1")
        found = await run_until(collector("shop", nats_server, 0.1), one_cycle)
        stream, subject, mixed = (found.destination(name) for name in ("DLQ", "dlq.payment", "errors.dlq"))
        assert (stream.kept_seconds, stream.kept_messages, stream.letters_lost) == (3600.0, 2, None)
        assert stream.oldest_at is not None and abs((stream.at - stream.oldest_at).total_seconds()) < 30
        assert (subject.kept_seconds, subject.kept_messages) == (None, None)  # its stream tells it
        assert (mixed.kept_seconds, mixed.kept_messages) == (60.0, None)
        assert found.destination("orders.placed").kept_seconds is None
        await js.publish("dlq.payment", b"2", headers=LETTER_HEADERS)
        found = await run_until(collector("shop", nats_server, 0.1), one_cycle)
        assert found.destination("DLQ").letters_lost == "the stream is full (2 messages) and refuses new ones"
        await js.update_stream(name="DLQ", subjects=["dlq.>"], max_age=3600, max_msgs=100, discard="new")
        found = await run_until(collector("shop", nats_server, 0.1), one_cycle)
        assert found.destination("DLQ").letters_lost is None


async def test_a_stream_of_letters_by_interest_that_nobody_consumes_keeps_none(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="dead-letters", subjects=["graveyard.>"], retention="interest")
        watcher = collector("shop", nats_server, 0.1)
        lost = (await run_until(watcher, one_cycle)).destination("dead-letters").letters_lost
        assert lost == "the stream keeps only what a consumer waits for (retention interest), and it has none"
        await consumer(js, "dead-letters", "reviewer", None)
        assert (await run_until(watcher, one_cycle)).destination("dead-letters").letters_lost is None
