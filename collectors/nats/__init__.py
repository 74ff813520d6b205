"""NATS JetStream: streams, subjects, consumers' lag, given-up messages and dead letters, read without touching them.

URLs: `nats://host:4222`, `nats://user:password@host`, `nats://token@host`, `tls+nats://host`, several hosts
with commas; options `?creds=/path/file.creds`, `?inbox_prefix=_INBOX_eventflow`, `?domain=hub`.
"""

from collectors.nats.collector import NatsCollector
from collectors.nats.replay import NatsReplayer

__all__ = ["NatsCollector", "NatsReplayer", "collector", "replayer"]

collector = NatsCollector
replayer = NatsReplayer
