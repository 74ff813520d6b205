"""Metrics that tell how far consumers are behind, by the names that Collectors and exporters use: tables.

`kafkametricsreceiver`, `rabbitmqreceiver` and, through the Collector's Prometheus receiver, kafka_exporter.
"""

CLUSTER = ("kafka.cluster.alias", "rabbitmq.cluster.name", "cluster")
"""Resource or point attributes that tell one cluster from another."""
GROUP = ("group", "consumergroup", "consumer_group")
TOPIC = ("topic",)
PARTITION = ("partition",)
QUEUE = ("rabbitmq.queue.name", "queue")

# name → the field of a partition's reading; all of them by group, topic and partition
KAFKA_BY_PARTITION = {
    "kafka.consumer_group.lag": "lag",
    "kafka_consumergroup_lag": "lag",
    "kafka.consumer_group.offset": "settled",
    "kafka_consumergroup_current_offset": "settled",
}
KAFKA_SUM = frozenset(("kafka.consumer_group.lag_sum", "kafka_consumergroup_lag_sum"))
KAFKA_MEMBERS = frozenset(("kafka.consumer_group.members", "kafka_consumergroup_members"))
# … by topic and partition
KAFKA_TOPIC = {
    "kafka.partition.current_offset": "end",
    "kafka_topic_partition_current_offset": "end",
    "kafka.partition.oldest_offset": "start",
    "kafka_topic_partition_oldest_offset": "start",
}
RABBIT_STATES = {"ready": "ready", "unacknowledged": "in_flight"}
RABBIT_CURRENT = "rabbitmq.message.current"
RABBIT = {
    "rabbitmq.consumer.count": "members",
    "rabbitmq.message.published": "published",
    "rabbitmq.message.delivered": "delivered",
    "rabbitmq.message.acknowledged": "settled",
}
COUNTED_ONLY = "messaging."
"""OpenTelemetry's own: rates and durations, which the spans tell already."""
