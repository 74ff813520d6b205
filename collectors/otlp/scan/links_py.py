"""A span's events and links, one by one, in plain Python: what of them the judgement of the span depends on."""

import re
from dataclasses import dataclass, field

from collectors.otlp.parse import LAST_NS
from collectors.otlp.scan.attributes_py import plain_text, usual
from collectors.otlp.scan.fields_py import fields
from collectors.otlp.scan.names import Names

NO_TRACE, NO_SPAN = bytes(16), bytes(8)
NOT_DUE = b"KafkaBackoffException"
"""What `failure.put_back` looks for in exceptions."""
USUAL_LINK = re.compile(rb"\x0a\x10(.{16})\x12\x08(.{8})(?:\x35.{4})?", re.DOTALL).fullmatch
"""Two ids and perhaps flags: nearly all."""


@dataclass(slots=True)
class Link:
    """What a link says: ids, None if they are none; which identities (a bit each), and where in it their texts lie."""

    ids: tuple[bytes, bytes] | None
    said: int = 0
    odd: bool = False
    identities: list[tuple[int, int, int]] = field(default_factory=list)
    """Index of the name, offset, length."""


def event(sent: bytes) -> tuple[bool, bool]:
    """Whether an event is an exception, and whether only whole reading can judge it."""
    name = b""
    odd = False
    for tag, at, to in fields(sent, 0, len(sent)):
        if tag == 0x12:
            name = sent[at:to]
        elif tag == 0x09:
            odd = int.from_bytes(sent[at:to], "little") > LAST_NS
    exception = name == b"exception"
    return exception, odd or (exception and NOT_DUE in sent)


def link(sent: bytes, names: Names) -> Link:
    """What a link says, which is sound."""
    if found := USUAL_LINK(sent):
        return _with_ids(Link(None), found[1], found[2])
    read = Link(None)
    trace_id = span_id = b""
    for tag, at, to in fields(sent, 0, len(sent)):
        if tag == 0x0A:
            trace_id = sent[at:to]
        elif tag == 0x12:
            span_id = sent[at:to]
        elif tag == 0x22:
            _add_identity(read, sent[at:to], at, names)
    return _with_ids(read, trace_id, span_id)


def _with_ids(read: Link, trace_id: bytes, span_id: bytes) -> Link:
    if len(trace_id) == 16 and len(span_id) == 8 and trace_id != NO_TRACE and span_id != NO_SPAN:
        read.ids = trace_id, span_id
    else:
        read.odd = True
        read.identities = []
    return read


def _add_identity(read: Link, attribute: bytes, at: int, names: Names) -> None:
    """Add what an attribute of a link names, which begins at `at` in it."""
    value = usual(attribute)
    index = names.link_identities.get(attribute[2 : 2 + attribute[1]]) if value else None
    if index is None:
        read.odd |= not value
        return
    text = plain_text(attribute, value)
    read.odd |= not text or bool(read.said & 1 << index)
    read.said |= 1 << index
    if text:
        read.identities.append((index, at + text, len(attribute) - text))
