"""Zipkin's messaging tags and span names in OpenTelemetry's words, so that the shared conventions read them. Pure."""

from collections.abc import Mapping

from collectors.conventions.messaging_names import SYSTEMS
from collectors.receiving.otlp_values import Plain

RECEIVE_NAMES = frozenset(("next-message", "poll"))
"""Brave's spans for taking a message: microseconds long, the work is their child."""
PROCESS_NAME = "on-message"
MESSAGING_TAGS = ("kafka.", "rabbit.", "jms.", "messaging.")


def messaging_attributes(name: str, produces: bool, tags: Mapping[str, Plain], peer: Plain | None) -> dict[str, Plain]:
    """What a PRODUCER or CONSUMER span called `name` says about its message. `peer`: the remote endpoint's name."""
    found = _kafka(tags) or _rabbit(tags, produces) or _jms(tags)
    if not found:
        system = SYSTEMS.get(str(peer).lower()) if peer is not None else None
        return {"messaging.system": system} if system and any(key.startswith("messaging.") for key in tags) else {}
    if produces:
        return found | {"messaging.operation.type": "send"}
    return found | {"messaging.operation.type": "receive" if name in RECEIVE_NAMES else "process"}


def _kafka(tags: Mapping[str, Plain]) -> dict[str, Plain]:
    if "kafka.topic" not in tags:
        return {}
    found: dict[str, Plain] = {"messaging.system": "kafka", "messaging.destination.name": tags["kafka.topic"]}
    if "kafka.key" in tags:
        found["messaging.kafka.message.key"] = tags["kafka.key"]
    return found


def _rabbit(tags: Mapping[str, Plain], produces: bool) -> dict[str, Plain]:
    """Exchange on both sides, so that they meet; who reads is told by the queue. The default exchange has no name."""
    exchange, key, queue = (str(tags.get(f"rabbit.{part}", "")) for part in ("exchange", "routing_key", "queue"))
    if not (exchange or key or queue):
        return {}
    found: dict[str, Plain] = {"messaging.system": "rabbitmq", "messaging.destination.name": exchange or key or queue}
    if key:
        found["messaging.rabbitmq.destination.routing_key"] = key
    if queue and not produces:
        found["messaging.consumer.group.name"] = queue
    return found


def _jms(tags: Mapping[str, Plain]) -> dict[str, Plain]:
    name = tags.get("jms.queue") or tags.get("jms.topic")
    return {"messaging.system": "jms", "messaging.destination.name": name} if name else {}
