"""A message of SQS as headers and body, and back. Pure.

What SQS itself tells of a message stands among its headers as `SQS-…`, for example `SQS-MessageGroupId`; the type of an
attribute that is no plain text as `SQS-Type-<attribute>`. Bytes are base64 after `base64:`.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from collectors.base import REPLAY_HEADER, CollectorError

OWN = "SQS-"
TYPE = f"{OWN}Type-"
GROUP, DEDUPLICATION = f"{OWN}MessageGroupId", f"{OWN}MessageDeduplicationId"
MAX_ATTRIBUTES = 10
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)[A-Za-z0-9_.-]{1,256}")
_ADDED = ("traceparent", "tracestate")


def headers_of(message: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """A received message's attributes, then what SQS tells of it."""
    pairs: list[tuple[str, str]] = []
    types: list[tuple[str, str]] = []
    for name, told in (message.get("MessageAttributes") or {}).items():
        if not isinstance(told, dict):
            continue
        data, kind = told.get("BinaryValue"), str(told.get("DataType", "String"))
        text = f"base64:{base64.b64encode(data).decode()}" if isinstance(data, bytes) else str(told.get("StringValue"))
        pairs.append((str(name), text))
        if kind != ("Binary" if isinstance(data, bytes) else "String"):
            types.append((f"{TYPE}{name}", kind))
    own = [(f"{OWN}{name}", str(value)) for name, value in sorted((message.get("Attributes") or {}).items())]
    return (*pairs, *types, *own)


def attributes_of(headers: Sequence[tuple[str, str]], token: str) -> dict[str, dict[str, Any]]:
    """The message attributes of a replay: the application's own, then ours as far as SQS's ten leave room.

    Raises a permanent CollectorError when the application's own can't be sent.
    """
    types = {name[len(TYPE) :]: value for name, value in headers if name.startswith(TYPE)}
    own = [
        (name, value) for name, value in headers if not name.startswith(OWN) and name.lower() not in _LATER and value
    ]
    ours = [(REPLAY_HEADER, token), *((name, value) for name, value in headers if name.lower() in _ADDED)]
    found = {name: _attribute(name, value, types.get(name)) for name, value in own}
    if len(found) > MAX_ATTRIBUTES:
        raise CollectorError(
            f"the message has {len(found)} headers and SQS takes {MAX_ATTRIBUTES}: nothing was sent", permanent=True
        )
    for name, value in ours[: MAX_ATTRIBUTES - len(found)]:
        found[name] = _attribute(name, value, None)
    return found


_LATER = frozenset({REPLAY_HEADER.lower(), *_ADDED})


def _attribute(name: str, value: str, kind: str | None) -> dict[str, Any]:
    if not _NAME.fullmatch(name):
        raise CollectorError(f"SQS takes no attribute called {name[:100]}: nothing was sent", permanent=True)
    if value.startswith("base64:"):
        try:
            return {"DataType": kind or "Binary", "BinaryValue": base64.b64decode(value[7:], validate=True)}
        except ValueError:
            pass  # text that only looks like it
    return {"DataType": kind or "String", "StringValue": value}
