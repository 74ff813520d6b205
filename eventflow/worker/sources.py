"""EVENTFLOW_SOURCES in words: `nats://host:4222`, or with a name of one's own, `shop=nats://host:4222`.

URLs may hold credentials: they are never logged and never leave the worker.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings

NAME = re.compile(r"^[A-Za-z0-9][\w.-]{0,99}$")


class SourceError(ValueError):
    """A source that cannot be understood; the message holds no credentials."""


class ConfiguredSource(NamedTuple):
    """One broker that Eventflow looks at."""

    name: str
    url: str

    def __repr__(self) -> str:
        return f"ConfiguredSource({self.name!r})"


def parse(entry: str) -> ConfiguredSource:
    """One entry. Without a name its host and port are the name."""
    name, equals, url = entry.strip().partition("=")
    name, url = name.strip(), url.strip()
    if not equals or "://" in name:
        name, url = "", entry.strip()
    try:
        parts = urlsplit(url)
        first = urlsplit("//" + parts.netloc.rpartition("@")[2].partition(",")[0])
        host, port = first.hostname, first.port
    except ValueError as error:
        raise SourceError(f"source {name or 'without a name'}: its URL has no readable host and port") from error
    if not parts.scheme or "://" not in url:
        raise SourceError(f"source {name or '(no name)'}: write it as NAME=nats://HOST:PORT or nats://HOST:PORT")
    if not host:
        raise SourceError(f"source {name or parts.scheme}: its URL names no host")
    name = name or (f"{host}:{port}" if port else host)
    if not NAME.match(name.replace(":", ".")):
        raise SourceError("a source's name may hold letters, digits, dots, dashes and underscores only")
    return ConfiguredSource(name, url)


def parse_all(entries: Sequence[str]) -> list[ConfiguredSource]:
    """All entries; two of one name cannot be told apart."""
    whole: list[str] = []
    for entry in entries:
        if whole and entry.strip() and "://" not in entry:  # one more server of the same cluster
            whole[-1] += f",{entry.strip()}"
        else:
            whole.append(entry)
    found = [parse(entry) for entry in whole if entry.strip()]
    names = [source.name for source in found]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"two sources are called {name}; give one another name: NAME=URL")
    return found


def configured() -> list[ConfiguredSource]:
    """The sources of this process. Raises SourceError."""
    return parse_all(settings.EVENTFLOW_SOURCES)
