"""The wire format of what is stored, named by the settings: the store keeps requests and knows no protocol."""

import threading
from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from eventflow.domain.columns import Format
from eventflow.store.spans.meaning import Meanings

_making = threading.Lock()


def form() -> Format:
    """The format of the settings, made once for each choice of keys."""
    return _chosen()[0]


def meanings() -> Meanings:
    """What that format's shapes mean."""
    return _chosen()[1]


def _chosen() -> tuple[Format, Meanings]:
    # A cache makes two when two threads ask at once, and numbers of shapes and edges are those of one.
    with _making:
        return _form(
            settings.EVENTFLOW_SPAN_FORMAT,
            tuple(settings.EVENTFLOW_CORRELATION_KEYS),
            tuple(settings.EVENTFLOW_SEARCH_KEYS),
        )


@lru_cache(maxsize=4)
def _form(path: str, correlation_keys: tuple[str, ...], search_keys: tuple[str, ...]) -> tuple[Format, Meanings]:
    made: Format = import_string(path)(correlation_keys, search_keys)
    return made, Meanings(made)
