"""What an attribute's name is to the judgement of a message hop: what a reader of whole columns must look at and why.

Derived from the tables that `messaging` and `correlation` read by, so that no second list of names can go out of date.
Pure.
"""

from collections.abc import Sequence
from enum import IntFlag

from collectors.conventions.correlation import attribute_rank
from collectors.conventions.messaging import LONGEST_NAME, PREFIXES
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
    OFFSET,
    PARTITION,
    RETRIES,
    ROUTING_KEY,
)


class Role(IntFlag):
    """Several may hold at once. None at all: nobody looks at the attribute."""

    OURS = 1
    """Spans with such an attribute may be messaging, all others are not."""
    NAME = 2
    """That it is there says something (a system's prefix), its value does not."""
    TEXT = 4
    """It counts whether its value can be read as text, not which text it is."""
    NUMBER = 8
    """The same of a count."""
    VALUE = 16
    """Its value decides."""
    IDENTITY = 32
    """Names a message or a flow: told apart by where it stands, not by what it says."""
    SEARCH = 64
    """The operator wants flows to be found by its value."""


VALUES = frozenset(
    (
        *("messaging.system", "messaging.operation.type", "messaging.operation", "messaging.operation.name"),
        *("celery.action", "faas.trigger", "peer.service", "nservicebus.processing_endpoint", "error.type"),
        "messaging.servicebus.disposition_status",
        *(*DESTINATION, *DESTINATION_IN_PATH, *ROUTING_KEY, *PARTITION, *GROUP, *EVENT_TYPE),
        *(*BATCH_SIZE, *ATTEMPT, *RETRIES),
    )
)
TEXTS = frozenset((*KEY, *OFFSET, *CLIENT_ID))
NUMBERS = frozenset(BODY_SIZE)
IDENTITIES = frozenset((*MESSAGE_ID, *CONVERSATION_ID))
LINK_IDENTITIES = ("messaging.message.id", "messaging.message_id")
"""What of a link's attributes is looked at: batches name their messages there."""


def role(name: str, correlation_keys: Sequence[str] = (), search_keys: Sequence[str] = ()) -> Role:
    """The role of an attribute of a span. Names of LONGEST_NAME characters and more have none."""
    if len(name) >= LONGEST_NAME:
        return Role(0)
    found = Role.OURS | Role.NAME if name.startswith(PREFIXES) else Role(0)
    if name in search_keys:
        found |= Role.SEARCH
    if name in VALUES:
        found |= Role.VALUE
    if name in IDENTITIES or attribute_rank(name, tuple(correlation_keys)) is not None:
        return found | Role.IDENTITY
    if name in TEXTS:
        found |= Role.TEXT
    if name in NUMBERS:
        found |= Role.NUMBER
    return found
