"""The outside world → observations. No Django here.

The registry: a source URL's scheme names the package that knows how to look at it.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from urllib.parse import urlsplit

from collectors.base import Collector, CollectorError, Replayer

SCHEMES = {
    "celery+amqp": "collectors.celery",
    "celery+amqps": "collectors.celery",
    "celery+redis": "collectors.celery",
    "celery+rediss": "collectors.celery",
    "kafka": "collectors.kafka",
    "kafka+ssl": "collectors.kafka",
    "nats": "collectors.nats",
    "tls+nats": "collectors.nats",
    "rabbitmq": "collectors.rabbitmq",
    "rabbitmqs": "collectors.rabbitmq",
    "redis-streams": "collectors.redis_streams",
    "rediss-streams": "collectors.redis_streams",
    "sqs": "collectors.sqs",
}


def _package(url: str) -> str:
    scheme = urlsplit(url).scheme.lower()
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise CollectorError(f"no collector for {scheme or 'an empty scheme'}://; use one of {known}", permanent=True)
    return SCHEMES[scheme]


def _module(url: str) -> ModuleType:
    package = _package(url)
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        extra = package.rpartition(".")[2]
        raise CollectorError(
            f"{error.name} is not installed here: pip install '.[{extra}]' brings it",
            permanent=True,
        ) from None


def from_url(
    name: str,
    url: str,
    *,
    seconds: float | None = None,
    correlation_keys: Sequence[str] = (),
    resume: Mapping[str, int] | None = None,
) -> Collector:
    """The collector of source `name` at `url`. Raises a permanent CollectorError for a scheme nobody knows.

    `seconds` between two looks (None: the collector's own), `correlation_keys`: the operator's header names,
    `resume`: the cursors that an earlier collector's last status told.
    """
    options = {} if seconds is None else {"seconds": seconds}
    make = _module(url).collector
    collector: Collector = make(name, url, correlation_keys=tuple(correlation_keys), resume=resume, **options)
    return collector


def harmless(url: str) -> str:
    """The same source without what an operator allowed us to change there (`?take=`): for a look that keeps nothing."""
    parts = urlsplit(url)
    options = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] != "take"]
    return parts._replace(query="&".join(options)).geturl()


def replayer(name: str, url: str) -> Replayer | None:
    """What can put messages back at `url`, or None where the broker cannot take them."""
    make = getattr(_module(url), "replayer", None)
    found: Replayer | None = make(name, url) if make else None
    return found
