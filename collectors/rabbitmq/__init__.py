"""RabbitMQ: queues, consumers, dead-letter routes and letters that get lost, by its management API and its metrics.

URLs: `rabbitmq://user:password@host:15672/vhost` (without a vhost it is `/`), with TLS `rabbitmqs://…`;
`?prometheus=15692`, or `host:port` of every node with commas, takes the numbers from there at a tenth of the cost.
One vhost a source. Rights that suffice: the tag `monitoring` and the permissions `^$ ^$ ^$` on the vhost.

There is no replayer: a replay needs the letter's payload, and letters can't be read here without changing their queue
(basic.get counts as a delivery). Needs the extra `rabbitmq`.
"""

from collections.abc import Mapping, Sequence

from collectors.rabbitmq.collector import POLL_SECONDS, RabbitMqCollector

__all__ = ["RabbitMqCollector", "collector"]


def collector(
    name: str,
    url: str,
    seconds: float = POLL_SECONDS,
    *,
    correlation_keys: Sequence[str] = (),
    resume: Mapping[str, int] | None = None,
) -> RabbitMqCollector:
    """The collector of source `name`. No message is read here, so correlation keys and cursors mean nothing."""
    del correlation_keys, resume
    return RabbitMqCollector(name, url, seconds)
