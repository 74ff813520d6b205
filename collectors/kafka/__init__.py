"""Kafka: topics, partitions, groups of every kind, lag in messages and in seconds, dead letters; read without touching.

URLs: `kafka://host:9092`, several brokers with commas, `kafka+ssl://` (or `?tls=1`) for TLS, `user:password@` for SASL
with `?mechanism=PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|OAUTHBEARER`; `?ca=`, `?cert=`, `?key=` name PEM files, `?token_url=`
and `?scope=` serve OAUTHBEARER.
"""

from collectors.kafka.collector import KafkaCollector
from collectors.kafka.replay import KafkaReplayer

__all__ = ["KafkaCollector", "KafkaReplayer", "collector", "replayer"]

collector = KafkaCollector
replayer = KafkaReplayer
