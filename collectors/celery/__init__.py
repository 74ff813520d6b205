"""Celery on Redis or RabbitMQ: what waits in queues, what workers hold, workers online, failed tasks by their events.

URLs: `celery+redis://user:password@host:6379/0`, with TLS `celery+rediss://…` (`?ca=` for a private authority);
`?queues=a+b` names the queues where keys may not be searched. `celery+amqp://user:password@host:5672/vhost` (with TLS
`celery+amqps://…`) looks at the queue `celery`, those of `?queues=` or those that events tell of. Run the workers with
`-E`, else no event tells of tasks. Rights that suffice on Redis: `+ping +scan +smembers +llen +hlen +hscan +psubscribe`
on the keys and on the channels `/0.celeryev*`.
"""

from collections.abc import Mapping, Sequence

from collectors.celery.collector import POLL_SECONDS, CeleryCollector

__all__ = ["CeleryCollector", "collector"]


def collector(
    name: str,
    url: str,
    seconds: float = POLL_SECONDS,
    *,
    correlation_keys: Sequence[str] = (),
    resume: Mapping[str, int] | None = None,
) -> CeleryCollector:
    """The collector of source `name`. There is nothing to resume: events are lost while nobody listens."""
    return CeleryCollector(name, url, seconds)
