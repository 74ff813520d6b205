"""Letters that an operator lets us take out of a real RabbitMQ, and putting them back."""

import asyncio
from collections.abc import Sequence

import aio_pika
import pytest

from collectors.base import CollectorError, Outgoing, Replayer
from collectors.rabbitmq import collector, replayer
from collectors.rabbitmq.letters import why_not
from collectors.rabbitmq.parse import Queue
from eventflow.domain.observations import DeadLetter, Observation
from tests.collectors.rabbitmq.shop import Vhost, publish
from tests.collectors.recorder import Recorder, one_cycle, run_until

pytestmark = pytest.mark.rabbitmq


def taking(vhost: Vhost, queues: str = "*") -> str:
    return f"{vhost.url}?amqp={vhost.server.port}&take={queues}"


async def dead_letter(vhost: Vhost, count: int = 1, kind: str = "classic") -> None:
    """`payment` rejects what it got, and the broker moves it."""
    vhost.exchange("dlx", "fanout")
    vhost.queue("dlq.payment", queue_type=kind)
    vhost.bind("dlx", "dlq.payment")
    vhost.queue("payment", dead_letter_exchange="dlx")
    async with vhost.channel() as channel:
        for number in range(count):
            message = aio_pika.Message(
                b"%d" % number,
                headers={"ce-type": "orders.placed", "tries": 3},
                message_id=f"m{number}",
                correlation_id="order-1",
                content_type="application/json",
            )
            await channel.default_exchange.publish(message, routing_key="payment")
        for _ in range(count):
            await (await (await channel.get_queue("payment")).get()).reject(requeue=False)


async def left(vhost: Vhost, queue: str) -> list[bytes]:
    async with vhost.channel() as channel:
        place, found = await channel.get_queue(queue), []
        while (message := await place.get(no_ack=True, fail=False)) is not None:
            found.append(message.body)
        return found


async def test_a_taken_letter_is_told_by_its_x_death_and_its_properties(vhost: Vhost) -> None:
    await dead_letter(vhost)
    found = await run_until(collector("shop", taking(vhost), 0.2), lambda seen: seen.letters, seconds=30)
    (letter,) = found.letters
    assert (letter.location, letter.payload, letter.convention) == ("dlq.payment", b"0", "RabbitMQ")
    assert (letter.destination, letter.group, letter.attempts) == ("payment", "payment", 1)
    assert (letter.error_message, letter.correlation_id, letter.message_id) == ("rejected", "order-1", "m0")
    assert (letter.content_type, letter.evidence["attempts"]) == ("application/json", "header x-death")
    assert letter.failed_at is not None
    assert ("tries", "3") in letter.headers


async def test_a_letter_that_the_application_wrote_goes_back_to_the_queue_of_its_group(vhost: Vhost) -> None:
    vhost.queue("payment")
    vhost.queue("dlq.payment")
    headers = {"x-original-subject": "orders.placed", "x-original-consumer": "payment", "x-exception-type": "E"}
    async with vhost.channel() as channel:
        await publish(channel, "dlq.payment", 1, headers=headers)
    found = await run_until(collector("shop", taking(vhost), 0.2), lambda seen: seen.letters, seconds=30)
    (letter,) = found.letters
    assert (letter.destination, letter.group, letter.error_type) == ("payment", "payment", "E")
    assert letter.evidence["destination"] == "queue of the group, by header x-original-consumer"


@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_letters_that_could_not_be_stored_are_all_taken_later(vhost: Vhost, kind: str) -> None:
    await dead_letter(vhost, 60, kind)
    failures = iter([True, True, False, True])

    def refuse(batch: Sequence[Observation]) -> None:
        if any(isinstance(item, DeadLetter) for item in batch) and next(failures, False):
            raise OSError("disk I/O error")

    seen, looks = Recorder(refuse), collector("shop", taking(vhost), 0.2)
    for _ in range(3):
        with pytest.raises(OSError, match="disk"):
            await asyncio.wait_for(looks.run(seen), 30)

    def all_taken(now: Recorder) -> bool:
        return len({one.position for one in now.letters}) >= 60 and now.destination("dlq.payment").messages == 0

    await run_until(looks, all_taken, recorder=seen, seconds=30)
    assert sorted({one.payload for one in seen.letters if one.payload}) == sorted(b"%d" % n for n in range(60))
    assert len({one.position for one in seen.letters}) == 60
    assert await left(vhost, "dlq.payment") == []


async def test_queues_that_nobody_named_keep_their_letters(vhost: Vhost) -> None:
    await dead_letter(vhost)
    found = await run_until(
        collector("shop", taking(vhost, "other"), 0.2),
        lambda seen: seen.destination("dlq.payment").messages == 1,
        seconds=30,
    )
    assert found.letters == []
    assert "other is no dead-letter queue" in found.status.message
    assert await left(vhost, "dlq.payment") == [b"0"]


async def test_a_quorum_queue_with_a_delivery_limit_is_left_alone(vhost: Vhost) -> None:
    vhost.queue("dlq.payment", queue_type="quorum", delivery_limit=2)
    found = await run_until(collector("shop", taking(vhost), 0.2), one_cycle)
    assert "dlq.payment has a delivery limit" in found.status.message


def test_from_version_4_on_every_quorum_queue_has_a_limit() -> None:
    quorum, classic = Queue("q", "quorum", {}), Queue("c", "classic", {})
    assert [why_not(quorum, version) is None for version in ("3.13.7", "4.0.1", "")] == [True, False, False]
    assert why_not(classic, "4.3.0") is None
    assert why_not(Queue("s", "stream", {}), "3.13.7") == "is a stream"


async def test_a_replay_reaches_the_failed_queue_alone_with_its_properties_and_without_its_deaths(vhost: Vhost) -> None:
    await dead_letter(vhost)
    vhost.queue("audit")
    found = await run_until(collector("shop", taking(vhost), 0.2), lambda seen: seen.letters, seconds=30)
    (letter,) = found.letters
    puts = replayer("shop", taking(vhost))
    assert isinstance(puts, Replayer)
    assert (await puts.receivers("payment", "payment")).exact
    sent = Outgoing("payment", "payment", (*letter.headers, ("Eventflow-Replay", "t1")), letter.payload or b"", "t1")
    assert await puts.send(sent) == "payment:t1"
    await puts.close()
    async with vhost.channel() as channel:
        message = await (await channel.get_queue("payment")).get(no_ack=True)
    assert (message.body, message.message_id, message.correlation_id) == (b"0", "m0", "order-1")
    assert message.content_type == "application/json"
    assert dict(message.headers) == {"ce-type": "orders.placed", "tries": "3", "Eventflow-Replay": "t1"}


async def test_a_replay_to_a_queue_that_is_not_there_sends_nothing_for_good(vhost: Vhost) -> None:
    puts = replayer("shop", taking(vhost))
    with pytest.raises(CollectorError, match="nothing was sent") as refused:
        await puts.send(Outgoing("nowhere", None, (), b"", "t"))
    await puts.close()
    assert (refused.value.permanent, refused.value.reached) == (True, False)


async def test_a_replay_without_a_server_says_that_nothing_was_sent() -> None:
    puts = replayer("shop", "rabbitmq://u:s3cret@127.0.0.1:1/?amqp=1")
    with pytest.raises(CollectorError, match="nothing was sent") as refused:
        await puts.send(Outgoing("payment", None, (), b"", "t"))
    assert (refused.value.permanent, refused.value.reached) == (False, False)
    assert "s3cret" not in str(refused.value)
