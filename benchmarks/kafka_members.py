"""The applications of the Kafka benchmark: a real member in every group, and everything moves on every other second.

python -m benchmarks.kafka_members ADDRESS GROUPS PARTITIONS AT: a line when every group has its partitions, then it
publishes and commits a record on each until it is ended. Half of the groups are classic, half of KIP-848.
"""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

SECONDS = 2.0


class Member:
    """The only consumer of its group: it fetches nothing, and commits what it is told."""

    def __init__(self, address: str, number: int, topic: str) -> None:
        self.topic = topic
        self.has = 0
        where = {"bootstrap.servers": address, "log_level": 0}
        what = {"group.id": f"group-{number:03}", "client.id": f"service-{number:03}", "enable.auto.commit": False}
        self._incremental = bool(number % 2)
        kind = {"group.protocol": "consumer" if self._incremental else "classic"}
        self._consumer = Consumer({**where, **what, **kind})
        self._consumer.subscribe([topic], on_assign=self._assigned)

    def _assigned(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        consumer.incremental_assign(given) if self._incremental else consumer.assign(given)
        consumer.pause(given)
        self.has = len(given)

    def serve(self) -> None:
        self._consumer.poll(0)

    def commit(self, offset: int) -> None:
        self._consumer.commit(offsets=[TopicPartition(self.topic, n, offset) for n in range(self.has)])


def run(address: str, groups: int, partitions: int, at: int) -> None:
    """Until it is ended."""
    topics = [f"topic-{number:03}" for number in range(partitions // 100)]
    members = [Member(address, number, topics[number % len(topics)]) for number in range(groups)]
    while not all(member.has for member in members):
        for member in members:
            member.serve()
        time.sleep(0.02)
    print("ready", flush=True)
    producer = Producer({"bootstrap.servers": address, "log_level": 0, "linger.ms": 20})
    while True:
        begun, at = time.monotonic(), at + 1
        for topic in topics:
            for number in range(100):
                producer.produce(topic, b"{}", partition=number)
            producer.poll(0)
        producer.flush(30)
        for member in members:
            member.commit(at)
            member.serve()
        time.sleep(max(0.0, SECONDS - (time.monotonic() - begun)))


if __name__ == "__main__":
    run(sys.argv[1], *map(int, sys.argv[2:]))
