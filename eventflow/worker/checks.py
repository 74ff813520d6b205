"""What is wrong with the configuration, told before anything starts: each fault has an id and says what to do."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  # Django's name for it

import collectors
from collectors.base import CollectorError
from eventflow.worker import addresses, sources


@register()
def check_addresses(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """eventflow.E001: an address that is none."""
    found: list[CheckMessage] = []
    names = ["EVENTFLOW_HTTP", "EVENTFLOW_OTLP_HTTP", "EVENTFLOW_OTLP_GRPC"]
    for name in [*names, "EVENTFLOW_ZIPKIN"] if settings.EVENTFLOW_ZIPKIN else names:
        try:
            addresses.parse(name, getattr(settings, name))
        except addresses.AddressError as error:
            found.append(Error(str(error), id="eventflow.E001"))
    return found


@register()
def check_sources(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """eventflow.E002: a source nobody can read."""
    try:
        for source in sources.parse_all(settings.EVENTFLOW_SOURCES):
            collectors.from_url(source.name, source.url)
    except (sources.SourceError, CollectorError) as error:
        return [Error(f"EVENTFLOW_SOURCES: {error}", id="eventflow.E002")]
    return []


@register(deploy=True)
def check_reach(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """eventflow.W001: reachable by others without TLS."""
    host = addresses.parse("EVENTFLOW_HTTP", settings.EVENTFLOW_HTTP)[0]
    if host not in {"127.0.0.1", "::1", "localhost"} and not settings.EVENTFLOW_URL.startswith("https://"):
        return [
            Warning(
                "Others can reach Eventflow, but not over TLS: cookies would travel in the clear.",
                hint="Put a proxy with TLS in front and set EVENTFLOW_URL=https://…",
                id="eventflow.W001",
            )
        ]
    return []
