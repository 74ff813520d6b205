"""The wire format of stored spans, one for receivers and store in a process: columns refer to the names it has met."""

import threading
from functools import lru_cache

from django.conf import settings

from collectors.otlp.scan import OtlpFormat

_making = threading.Lock()


def span_format() -> OtlpFormat:
    """OTLP with the operator's keys: the format that settings.EVENTFLOW_SPAN_FORMAT gives the store."""
    return otlp(tuple(settings.EVENTFLOW_CORRELATION_KEYS), tuple(settings.EVENTFLOW_SEARCH_KEYS))


def otlp(correlation_keys: tuple[str, ...], search_keys: tuple[str, ...]) -> OtlpFormat:
    """The one reader of OTLP with these keys in this process."""
    # A cache makes two when two threads ask at once, and a receiver's columns would mean nothing to the store.
    with _making:
        return _otlp(correlation_keys, search_keys)


@lru_cache(maxsize=4)
def _otlp(correlation_keys: tuple[str, ...], search_keys: tuple[str, ...]) -> OtlpFormat:
    return OtlpFormat(correlation_keys, search_keys=search_keys)
