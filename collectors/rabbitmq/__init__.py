"""RabbitMQ: queues, consumers, dead-letter routes and letters that get lost, by its management API and its metrics.

URLs: `rabbitmq://user:password@host:15672/vhost` (without a vhost it is `/`), with TLS `rabbitmqs://…`;
`?prometheus=15692`, or every node's `host:port` with `+` between, takes the numbers from there at a tenth of the cost.
One vhost a source. Rights that suffice: the tag `monitoring` and the permissions `^$ ^$ ^$` on the vhost.

A letter can't be read without changing its queue, so by default letters are counted only. `?take=dlq.a+dlq.b` (or `*`)
lets us take them out and keep them, which makes them shown and replayable; it needs the right to read those queues, a
replay the right to write to the default exchange (`amq.default`), both over AMQP (`&amqp=5672`). Needs the extra
`rabbitmq`.
"""

from collections.abc import Mapping, Sequence

from collectors.rabbitmq.collector import POLL_SECONDS, RabbitMqCollector
from collectors.rabbitmq.replay import RabbitMqReplayer

__all__ = ["RabbitMqCollector", "RabbitMqReplayer", "collector", "replayer"]


def collector(
    name: str,
    url: str,
    seconds: float = POLL_SECONDS,
    *,
    correlation_keys: Sequence[str] = (),
    resume: Mapping[str, int] | None = None,
) -> RabbitMqCollector:
    """The collector of source `name`. What was taken is acknowledged, so there are no cursors to resume from."""
    del resume
    return RabbitMqCollector(name, url, seconds, correlation_keys=correlation_keys)


replayer = RabbitMqReplayer
