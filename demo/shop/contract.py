"""What the services agree on: who they are, which streams exist, which group reads which events.

Promises that everything the shop needs on a broker is listed here; holds no behaviour.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A consumer group: every message of `subject` (a wildcard is allowed) goes to one process of the group."""

    name: str
    stream: str
    subject: str


# How a service is called on the command line, and its module.
SERVICES = {
    "checkout": "checkout",
    "payment": "payment",
    "inventory": "inventory",
    "orders": "orders",
    "fraud-check": "fraud",
    "shipping": "shipping",
    "email": "mailing",
    "audit": "audit",
}

STREAMS = {
    "ORDERS": ["orders.>"],
    "PAYMENTS": ["payments.>"],
    "INVENTORY": ["inventory.>"],
    "SHIPMENTS": ["shipments.>"],
    "EMAILS": ["emails.>"],
    "DLQ": ["dlq.>"],
}

# Every event there is, for brokers that have no wildcards: a pattern is then all that it matches of these.
EVENTS = (
    "orders.placed",
    "orders.flagged",
    "orders.confirmed",
    "orders.cancelled",
    "payments.captured",
    "payments.refused",
    "inventory.reserved",
    "inventory.released",
    "shipments.created",
    "emails.requested",
)

GROUPS = {
    group.name: group
    for group in (
        Group("payment", "ORDERS", "orders.placed"),
        Group("inventory", "ORDERS", "orders.placed"),
        Group("fraud-check", "ORDERS", "orders.placed"),
        Group("shipping", "ORDERS", "orders.confirmed"),
        Group("audit-orders", "ORDERS", "orders.>"),
        Group("order-payments", "PAYMENTS", "payments.captured"),
        Group("inventory-release", "PAYMENTS", "payments.refused"),
        Group("audit-payments", "PAYMENTS", "payments.>"),
        Group("order-reservations", "INVENTORY", "inventory.reserved"),
        Group("order-releases", "INVENTORY", "inventory.released"),
        Group("audit-shipments", "SHIPMENTS", "shipments.created"),
        Group("email", "EMAILS", "emails.requested"),
    )
}


def events_of(group: Group) -> list[str]:
    """What a group reads, one by one."""
    return [event for event in EVENTS if event == group.subject or event.startswith(group.subject.removesuffix(">"))]


def dead_letter_subject(group: str) -> str:
    return f"dlq.{group}"
