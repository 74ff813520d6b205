"""Kafka: topics, partitions, groups of every kind, lag in messages and in seconds, dead letters; read without touching.

URLs: `kafka://host:9092`, several brokers with commas, `kafka+ssl://` (or `?tls=1`) for TLS, `user:password@` for SASL
with `?mechanism=PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER`; `?ca=`, `?cert=`, `?key=` name PEM files, `?token_url=`
and `?scope=` serve OAUTHBEARER.
"""

from collections.abc import Mapping, Sequence

from collectors.kafka.collector import POLL_SECONDS, KafkaCollector
from collectors.kafka.replay import KafkaReplayer

__all__ = ["KafkaCollector", "KafkaReplayer", "collector", "replayer"]


def collector(
    name: str,
    url: str,
    seconds: float = POLL_SECONDS,
    *,
    correlation_keys: Sequence[str] = (),
    resume: Mapping[str, int] | None = None,
) -> KafkaCollector:
    """The collector of source `name`. `resume` is what an earlier collector's `cursors` said."""
    return KafkaCollector(name, url, seconds, correlation_keys=correlation_keys, resume=resume)


def replayer(name: str, url: str) -> KafkaReplayer:
    """What puts messages back into Kafka."""
    return KafkaReplayer(name, url)
