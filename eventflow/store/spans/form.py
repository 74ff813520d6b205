"""The wire format of what is stored, named by the settings: the store keeps requests and knows no protocol."""

from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from eventflow.domain.columns import Format
from eventflow.store.spans.meaning import Meanings


def form() -> Format:
    """The format of the settings, made once for each choice of keys."""
    return _chosen()[0]


def meanings() -> Meanings:
    """What that format's shapes mean."""
    return _chosen()[1]


def _chosen() -> tuple[Format, Meanings]:
    return _form(
        settings.EVENTFLOW_SPAN_FORMAT,
        tuple(settings.EVENTFLOW_CORRELATION_KEYS),
        tuple(settings.EVENTFLOW_SEARCH_KEYS),
    )


@lru_cache(maxsize=4)
def _form(path: str, correlation_keys: tuple[str, ...], search_keys: tuple[str, ...]) -> tuple[Format, Meanings]:
    made: Format = import_string(path)(correlation_keys, search_keys)
    return made, Meanings(made)
