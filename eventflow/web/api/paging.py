"""Cursors for lists that are read whole: an opaque place after the last item of the page before."""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from eventflow.web.api.problems import Problem

T = TypeVar("T")


def encode(offset: int) -> str:
    """A cursor."""
    return base64.urlsafe_b64encode(f"o{offset}".encode()).decode().rstrip("=")


def decode(cursor: str) -> int:
    """Where a cursor points; 0 for none. Ends the request with 400 when it is not one of ours."""
    if not cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return int(text.removeprefix("o"))
    except (binascii.Error, ValueError) as error:
        raise Problem(400, "This cursor was not given by this list; start without one.") from error


def page(items: Sequence[T], cursor: str, limit: int) -> tuple[list[T], str | None]:
    """One page and the cursor of the next."""
    start = max(0, decode(cursor))
    chosen = list(items[start : start + limit])
    after = start + len(chosen)
    return chosen, encode(after) if after < len(items) else None
