"""The wire format of stored spans, one for receivers and store in a process: columns refer to the names it has met."""

from functools import lru_cache

from django.conf import settings

from collectors.otlp.scan import OtlpFormat


def span_format() -> OtlpFormat:
    """OTLP with the operator's correlation keys."""
    return _format(tuple(settings.EVENTFLOW_CORRELATION_KEYS))


@lru_cache(maxsize=1)
def _format(correlation_keys: tuple[str, ...]) -> OtlpFormat:
    return OtlpFormat(correlation_keys)
