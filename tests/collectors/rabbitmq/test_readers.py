"""Who reads a queue, as a real server tells it."""

import asyncio

import pytest

from collectors.rabbitmq import collector
from collectors.rabbitmq.readers import NO_ACK
from eventflow.domain.observations import GroupMembers, SourceStatus
from tests.collectors.rabbitmq.shop import Vhost
from tests.collectors.recorder import Recorder

pytestmark = pytest.mark.rabbitmq


async def test_who_reads_a_queue_is_told_with_its_name_peer_prefetch_and_how_it_acknowledges(vhost: Vhost) -> None:
    vhost.queue("payment")
    vhost.queue("nobody")

    def told(seen: Recorder) -> list[GroupMembers]:
        return [one for one in seen.of(GroupMembers) if one.group == "payment"]

    def there(seen: Recorder) -> set[tuple[object, ...]]:
        newest = told(seen)[-1].members if told(seen) else None
        return {(one.client, *one.told) for one in newest or ()}

    seen = Recorder()
    running = asyncio.create_task(collector("shop", vhost.url, 0.2).run(seen))
    try:
        async with vhost.channel(name="payment-service-1") as by_hand, vhost.channel() as at_once:
            await by_hand.set_qos(prefetch_count=7)
            await (await by_hand.get_queue("payment")).consume(ignored, consumer_tag="careful")
            await (await at_once.get_queue("payment")).consume(ignored, consumer_tag="careless", no_ack=True)
            await seen.until(lambda now: len(there(now)) == 2, 40)
            user = ("user", "guest")
            assert there(seen) == {
                ("payment-service-1", ("tag", "careful"), user, ("prefetch", "7"), ("acknowledges", "each message")),
                ("", ("tag", "careless"), user, ("prefetch", "no limit"), ("acknowledges", NO_ACK)),
            }
            newest = told(seen)[-1]
            assert newest.destination == "payment"
            assert all(one.host.startswith("127.0.0.1:") for one in newest.members or ())
            again, looks = len(told(seen)), len(seen.of(SourceStatus))
            await seen.until(lambda now: len(now.of(SourceStatus)) > looks + 3)
            assert len(told(seen)) == again
        await seen.until(lambda now: told(now)[-1].members == (), 40)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [one.members for one in seen.of(GroupMembers) if one.group == "nobody"] == [()]


async def ignored(message: object) -> None:
    """What a consumer of a test does."""
