"""NATS JetStream: streams, subjects, consumers' lag, given-up messages and dead letters, read without touching them.

URLs: `nats://host:4222`, `nats://user:password@host`, `nats://token@host`, `tls+nats://host`, several hosts
with commas; options `?creds=/path/file.creds`, `?inbox_prefix=_INBOX_eventflow`, `?domain=hub`.
"""

from collections.abc import Mapping, Sequence

from collectors.nats.collector import POLL_SECONDS, NatsCollector
from collectors.nats.replay import NatsReplayer

__all__ = ["NatsCollector", "NatsReplayer", "collector", "replayer"]


def collector(
    name: str,
    url: str,
    seconds: float = POLL_SECONDS,
    *,
    correlation_keys: Sequence[str] = (),
    resume: Mapping[str, int] | None = None,
) -> NatsCollector:
    """The collector of source `name`. `resume` is what an earlier collector's `cursors` said."""
    return NatsCollector(name, url, seconds, correlation_keys=correlation_keys, resume=resume)


def replayer(name: str, url: str) -> NatsReplayer:
    """What puts messages back into JetStream."""
    return NatsReplayer(name, url)
