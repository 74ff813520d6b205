"""Chooses the shop's broker by its URL. Each library is imported only where it is asked for."""

from importlib import import_module
from urllib.parse import urlsplit

from demo.shop.broker import Broker, BrokerError

MODULES = {
    "nats": "nats_broker",
    "tls": "nats_broker",
    "kafka": "kafka_broker",
    "redis-streams": "redis_broker",
    "rabbitmq": "rabbitmq_broker",
}


async def connect(url: str, name: str, *, patient: bool = True) -> Broker:
    """Wait for the broker for ever if `patient`, else say within seconds that it is not there."""
    scheme = urlsplit(url).scheme
    if scheme not in MODULES:
        raise BrokerError(f"the shop knows no broker {scheme}://, only {', '.join(sorted(MODULES))}")
    broker: Broker = await import_module(f"demo.shop.{MODULES[scheme]}").connect(url, name, patient=patient)
    return broker
