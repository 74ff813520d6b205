"""Finds, in a flow, the delivery that ended in a given dead letter. Pure."""

from eventflow.domain.flow import Delivery, Flow


def delivery_of(flow: Flow, letter: str) -> Delivery | None:
    """The delivery that ended in this letter; None when no span here explains it."""
    for delivery in flow.deliveries():
        dead = delivery.dead_lettering
        if dead is not None and dead.letter is not None and dead.letter.id == letter:
            return delivery
    return None
