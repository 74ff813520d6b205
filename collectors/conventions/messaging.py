"""Messaging attributes of any dialect → `Messaging` in the current conventions' terms (1.44).

Mapped attribute by attribute, newest name first, because libraries mix dialects under one schema URL. Every field says
which attribute gave it. Pure: never looks at anything but the span it is given, and never raises for what stands there.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

from collectors.conventions.messaging_names import (
    ATTEMPT,
    BATCH_SIZE,
    BODY_SIZE,
    CLIENT_ID,
    CONVERSATION_ID,
    DESTINATION,
    DESTINATION_IN_PATH,
    EVENT_TYPE,
    GROUP,
    KEY,
    MESSAGE_ID,
    NAME_WORDS,
    NO_EXCHANGE,
    OFFSET,
    OPERATIONS,
    OUTCOMES,
    PARTITION,
    RETRIES,
    ROUTING_KEY,
    SYSTEM_BY_PREFIX,
    SYSTEMS,
)
from eventflow.domain.observations import Attributes, AttributeValue, Messaging, Operation, SpanKind

T = TypeVar("T")
LONGEST_NAME = 200
"""No attribute that means something here is longer; hostile ones shall not fill the caches."""
PREFIXES = (
    *("messaging.", "peer.service", "faas.trigger", "rabbitmq.queue", "aws."),
    *(prefix for prefix, _ in SYSTEM_BY_PREFIX),
)
LONGEST_VALUE = 300
"""Where names and ids are cut; the attribute itself stays whole in the span."""
SENDS = (Operation.SEND, Operation.CREATE)


def text(value: AttributeValue) -> str | None:
    """`value` as text of a bearable length: a list counts when it holds one distinct value. None for an empty text."""
    if isinstance(value, list):
        single = {found for found in map(text, value) if found}
        return single.pop() if len(single) == 1 else None
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, str):
        return value.strip()[:LONGEST_VALUE].replace("\0", "\N{REPLACEMENT CHARACTER}") or None
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return None
    return str(value)[:LONGEST_VALUE]


def number(value: AttributeValue) -> int | None:
    """`value` as a count, whether sent as a number or as digits; None for anything else, also for what is below 0."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < 2**63 else None


class _Reader:
    """Reads fields of one span and writes down which attribute gave each."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.rules: dict[str, str] = {}

    def take(self, field: str, names: Iterable[str], convert: Callable[[AttributeValue], T | None]) -> T | None:
        attributes = self.attributes
        for name in names:
            if name in attributes:
                value = convert(attributes[name])
                if value is not None:
                    self.rules[field] = name
                    return value
        return None

    def text(self, field: str, names: Iterable[str]) -> str | None:
        return self.take(field, names, text)

    def number(self, field: str, names: Iterable[str]) -> int | None:
        return self.take(field, names, number)


def messaging(name: str, kind: SpanKind, attributes: Attributes, scope: str = "") -> Messaging | None:
    """What a span called `name` of `kind` says about messages; None if it has nothing to do with messaging."""
    if not any(len(key) < LONGEST_NAME and _is_ours(key) for key in attributes):
        return None  # most spans of most systems, so quickly
    reader = _Reader(attributes)
    system = _system(reader)
    destination = _plain_destination(reader)
    operation, operation_name = _operation(reader, name, kind, system, destination)
    if system is None and destination is None and (operation is None or "operation" not in reader.rules):
        return None
    destination = _destination(reader, system, destination, operation, scope)
    partition = reader.text("partition", PARTITION)
    group = None if operation in SENDS else _group(reader)
    message_id, offset = _identity(reader, system, destination, partition, scope)
    return Messaging(
        system=system,
        operation=operation,
        operation_name=operation_name,
        destination=destination,
        partition=partition,
        group=group,
        message_id=message_id,
        # Celery's conversation id is the task's own id, the same on every retry: a message id.
        correlation_id=None if system == "celery" else reader.text("correlation_id", CONVERSATION_ID),
        event_type=reader.take("event_type", EVENT_TYPE, _type_name),
        key=reader.text("key", KEY),
        offset=offset,
        body_size=reader.number("body_size", BODY_SIZE),
        batch_size=reader.number("batch_size", BATCH_SIZE),
        attempt=_attempt(reader),
        client_id=_client_id(reader, group),
        outcome=_outcome(reader, operation, operation_name),
        rules=reader.rules,
    )


def _system(reader: _Reader) -> str | None:
    given = reader.text("system", ("messaging.system",))
    if given is not None:
        return SYSTEMS.get(given.lower(), given.lower()[:40])
    ranked = [(rank, key) for key in reader.attributes if len(key) < LONGEST_NAME and (rank := _system_rank(key)) >= 0]
    if ranked:
        rank, reader.rules["system"] = min(ranked)
        return SYSTEM_BY_PREFIX[rank][1]
    peer = text(reader.attributes.get("peer.service"))
    if peer is not None and peer.lower() in SYSTEMS and any(key in reader.attributes for key in DESTINATION):
        reader.rules["system"] = "peer.service"
        return SYSTEMS[peer.lower()]
    return None


@lru_cache(maxsize=4096)
def _system_rank(name: str) -> int:
    """The first entry of SYSTEM_BY_PREFIX that an attribute's name fits; -1 for none."""
    return next((rank for rank, (prefix, _) in enumerate(SYSTEM_BY_PREFIX) if name.startswith(prefix)), -1)


@lru_cache(maxsize=4096)
def _is_ours(name: str) -> bool:
    return name.startswith(PREFIXES)


def _operation(
    reader: _Reader, name: str, kind: SpanKind, system: str | None, destination: str | None
) -> tuple[Operation | None, str | None]:
    attributes = reader.attributes
    verb = text(attributes.get("messaging.operation.name"))
    for key in ("messaging.operation.type", "messaging.operation", "messaging.operation.name", "celery.action"):
        said = text(attributes.get(key))
        found = OPERATIONS.get(said.lower()) if said else None
        if found is not None and not (kind is SpanKind.CONSUMER and found in SENDS):  # aiokafka says publish on both
            reader.rules["operation"] = key
            return found, verb or said
    if attributes.get("faas.trigger") == "pubsub" and kind in (SpanKind.SERVER, SpanKind.CONSUMER):
        reader.rules["operation"] = "faas.trigger"
        return Operation.PROCESS, verb or "process"
    word = _word(name, destination)
    if system is None and destination is None:
        return None, verb
    operation, rule = _guessed_operation(OPERATIONS[word] if word else None, kind, destination)
    if operation is None:
        return None, verb
    reader.rules["operation"] = rule
    return operation, verb or word


def _guessed_operation(
    by_name: Operation | None, kind: SpanKind, destination: str | None
) -> tuple[Operation | None, str]:
    """The operation of a span that doesn't tell it, and whether the span's name or its kind gave it."""
    if kind is SpanKind.PRODUCER:
        return (Operation.CREATE, "span name") if by_name is Operation.CREATE else (Operation.SEND, "span kind")
    if kind is SpanKind.CONSUMER:
        return (Operation.PROCESS, "span kind") if by_name is None or by_name in SENDS else (by_name, "span name")
    # Without a destination, a CLIENT span such as basic.ack is the client library talking to its broker.
    return (by_name if destination is not None else None), "span name"


def _word(name: str, destination: str | None) -> str | None:
    """The operation in a span's name: ``orders process``, ``process orders``, ``apply_async/tasks.pay``."""
    name = name.strip()
    words = name.replace("/", " ", 1).split() if name.startswith(("apply_async/", "run/")) else name.split()
    if not words:
        return None
    candidates: tuple[str, ...]
    if destination and name.startswith(f"{destination} "):
        candidates = (words[-1],)
    elif destination and name.endswith(f" {destination}"):
        candidates = (words[0],)
    else:
        candidates = (words[-1], words[0]) if len(words) > 1 else (words[0],)
    return next((word.lower() for word in candidates if word.lower() in NAME_WORDS), None)


def _plain_destination(reader: _Reader) -> str | None:
    return reader.text("destination", DESTINATION) or reader.take("destination", DESTINATION_IN_PATH, _last_part)


def _last_part(value: AttributeValue) -> str | None:
    address = text(value)
    if address is None or address.startswith("["):  # kafka-python: a JSON list of brokers
        return None
    path = address.split("?", 1)[0].rstrip("/")
    if path.startswith("arn:"):
        return path.rsplit(":", 1)[-1] or None
    scheme, _, rest = path.partition("://")
    if scheme in ("amqp", "amqps") or "/" not in rest:
        return None  # the broker's address, not a destination's
    return rest.rsplit("/", 1)[-1] or None


def _destination(
    reader: _Reader, system: str | None, given: str | None, operation: Operation | None, scope: str
) -> str | None:
    """Sort out what RabbitMQ libraries make of exchange, routing key and queue."""
    if system == "rabbitmq":
        if given is not None and "aio_pika" in scope and "," in given:
            exchange, routing_key = given.split(",", 1)
            given = exchange or routing_key or None  # what aio-pika's consumers call the same thing
        if (given is None and operation is not None) or given in NO_EXCHANGE:
            given = reader.text("destination", ROUTING_KEY) or given
    if given is None and operation in (Operation.PROCESS, Operation.RECEIVE):
        given = reader.text("destination", ("nservicebus.processing_endpoint",))
    return given


def _group(reader: _Reader) -> str | None:
    def named(value: AttributeValue) -> str | None:
        group = text(value)
        return None if group is None or group.lower() == "none" else group  # Spring writes the word for "no group"

    return reader.take("group", GROUP, named)


def _identity(
    reader: _Reader, system: str | None, destination: str | None, partition: str | None, scope: str
) -> tuple[str | None, str | None]:
    """The message's id and offset; some Kafka libraries put the one into the other."""
    message_id = reader.text("message_id", MESSAGE_ID)
    offset = reader.text("offset", OFFSET)
    if system != "kafka" or message_id is None:
        return message_id, offset
    if "otelsarama" in scope:  # an offset alone is not unique, and no id
        source = reader.rules.pop("message_id")
        reader.rules.setdefault("offset", source)
        return None, offset or message_id
    start = f"{destination}.{partition}."
    if offset is None and message_id.startswith(start) and message_id[len(start) :].isdigit():
        reader.rules["offset"] = reader.rules["message_id"]
        offset = message_id[len(start) :]
    return message_id, offset


def _attempt(reader: _Reader) -> int | None:
    attempt = reader.number("attempt", ATTEMPT)
    if attempt is not None:
        return attempt
    retries = reader.number("attempt", RETRIES)
    return None if retries is None else retries + 1


def _client_id(reader: _Reader, group: str | None) -> str | None:
    client = reader.text("client_id", CLIENT_ID)
    return client.removeprefix(f"{group} - ") if client and group else client  # Spring: "<group> - <client>"


def _type_name(value: AttributeValue) -> str | None:
    """One type's name out of what frameworks send: the first of several, without assembly and URN prefix."""
    first = value[0] if isinstance(value, list) and value else value
    name = text(first)
    if name is None:
        return None
    name = name.split(";", 1)[0].split(",", 1)[0].strip()
    return name.removeprefix("urn:message:").replace(":", ".") if name.startswith("urn:message:") else name or None


def _outcome(reader: _Reader, operation: Operation | None, verb: str | None) -> str | None:
    disposition = reader.text("outcome", ("messaging.servicebus.disposition_status",))
    if disposition is not None:
        return OUTCOMES.get(disposition.lower(), disposition.lower())
    if operation is not Operation.SETTLE or verb is None or verb.lower() not in OUTCOMES:
        return None
    named = text(reader.attributes.get("messaging.operation.name")) == verb
    reader.rules["outcome"] = "messaging.operation.name" if named else reader.rules["operation"]
    return OUTCOMES[verb.lower()]
