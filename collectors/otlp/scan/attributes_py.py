"""What an attribute of a span is to a judgement, told from its bytes in plain Python: remembered wherever possible.

Says too whether the bytes are sound, which `raw` leaves open. Bounded, whatever hostile senders write.
"""

import re
from collections import defaultdict
from itertools import islice
from typing import Literal

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.conventions.roles import Role
from collectors.otlp.scan.fields_py import message, varint
from collectors.otlp.scan.names import MOST_KEYS, ODD, Names, UnscannableError

NAME, TEXT, NUMBER, VALUE, IDENTITY = (
    int(role) for role in (Role.NAME, Role.TEXT, Role.NUMBER, Role.VALUE, Role.IDENTITY)
)
LONGEST_TEXT = 300
STRING, BOOLEAN, INTEGER, DOUBLE = 0x0A, 0x10, 0x18, 0x21
"""AnyValue's tags."""
SEARCHED = b"\x0a\x10\x18\x21"
"""Those of values that flows are found by: text, true or false, whole numbers, others."""
LONGEST_VALUE = 256
"""Bytes of such a value with its tag. Longer ones are texts to read, none to look for."""
MOST_ATTRIBUTES = 4096
MOST_ONCE = 512
LONGEST_ATTRIBUTE = 160
MOST_FORMS = 32 * 1024
ANY_NUMBER = re.compile(rb"[\x80-\xff]{0,8}[\0-\x7f]").fullmatch
POSITIVE_NUMBER = re.compile(rb"[\x80-\xff]{0,8}[\x01-\x7f]").fullmatch
"""One number above zero without needless bytes, of at most 63 bits, and nothing behind it."""
PLAIN, MORE, LAST = bytes(range(0x21, 0x7F)), bytes(range(0x80, 0x100)), bytes(range(0x80))
"""What a plain text begins and ends with; the bytes of a number, and the last of them."""
CHECK_NOTHING, CHECK_TEXT, CHECK_PLAIN, CHECK_NUMBER, CHECK_POSITIVE = range(5)


class Known:
    """An attribute that somebody looks at. One and the same object for all that a shape can't tell apart."""

    __slots__ = ("at", "code", "key", "part")

    def __init__(self, code: int, key: bytes, part: bytes, at: int) -> None:
        self.code = code
        self.key = key
        self.part = part
        """What of it the shape depends on."""
        self.at = at
        """Where its text begins if it is an identity; 0 when that is not plain text."""


UNUSUAL = Known(ODD, b"", b"", 0)
_Form = tuple[int, int, int, Known | Literal[False]]
"""Attributes that begin alike, up to the first byte of the value: their size, where what is to be checked begins, what
to check, and what they then are."""


class Attributes:
    """What attributes are: `Known`, or False where nobody looks at them. Keeps those that come often."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.kept: dict[bytes, Known | Literal[False]] = {}
        self.forms: dict[bytes, _Form] = {}
        self.shared: dict[tuple[bytes, int], Known] = {}
        self.once: set[bytes] = set()
        """Came once, lately."""

    def told(self, sent: list[bytes]) -> list[Known | Literal[False]]:
        """What attributes are. Raises UnscannableError when one is not sound."""
        # Other threads may scan at the same time: what they keep or drop does not change what is found here.
        kept = self.kept
        return [*map((kept | self._looked_at({*sent}.difference(kept))).__getitem__, sent)]

    def _looked_at(self, unknown: set[bytes]) -> dict[bytes, Known | Literal[False]]:
        """What attributes are that nobody kept: those that begin alike together."""
        groups: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for attribute in unknown:
            groups[attribute[: attribute[1] + 5] if len(attribute) > 5 else b""].append(attribute)
        found: dict[bytes, Known | Literal[False]] = {}
        for begin, alike in groups.items():
            if begin not in self.forms:
                one = alike.pop()
                found[one] = self._first(one)
            form = self.forms.get(begin)
            if form is not None and _all_are(form, alike):
                found.update(dict.fromkeys(alike, form[3]))
            else:
                for one in alike:
                    found[one] = form[3] if form is not None and _all_are(form, [one]) else self._first(one)
        for attribute in islice(unknown, 0, None, 16):
            self._met(attribute, found[attribute])
        return found

    def _met(self, sent: bytes, found: Known | Literal[False]) -> None:
        """Most that are not kept are the only ones of their kind. What is met here twice comes often."""
        if sent in self.once:
            self._keep(sent, found)
        elif len(sent) <= LONGEST_ATTRIBUTE:
            if len(self.once) >= MOST_ONCE:
                self.once.clear()
            self.once.add(sent)

    def _keep(self, sent: bytes, found: Known | Literal[False]) -> None:
        if len(sent) <= LONGEST_ATTRIBUTE:
            if len(self.kept) >= MOST_ATTRIBUTES:
                self.kept = {}
            self.kept[sent] = found

    def _first(self, sent: bytes) -> Known | Literal[False]:
        """What an attribute is whose form is not known, slowly. Raises UnscannableError when it is not sound."""
        if not _is_text(sent):
            sound(0x4A, sent)
        at = usual(sent)
        if not at:
            return UNUSUAL
        key = sent[2 : 2 + sent[1]]
        code = self.names.code(key)
        if code & ODD:
            return UNUSUAL
        found: Known | Literal[False] = self._known(code, key, sent, at) if code else False
        self._learn(code, sent, at, found)
        if code & VALUE:
            self._keep(sent, found)
        return found

    def _known(self, code: int, key: bytes, sent: bytes, at: int) -> Known:
        part = b"\1" + sent[1 : 2 + sent[1]]
        if code & VALUE:
            part = sent
        elif code & TEXT:
            part += text_class(sent, at)
        elif code & NUMBER:
            part += number_class(sent, at)
        text_at = plain_text(sent, at) if code & IDENTITY else 0
        found = self.shared.get((part, text_at))
        if found is None:
            found = Known(code, key, part, text_at)
            if len(sent) <= LONGEST_ATTRIBUTE:
                if len(self.shared) >= MOST_KEYS:
                    self.shared.clear()
                self.shared[part, text_at] = found
        return found

    def _learn(self, code: int, sent: bytes, at: int, found: Known | Literal[False]) -> None:
        """Remember what attributes are that begin like this one, unless that takes more than a look."""
        size = len(sent)
        if at != sent[1] + 4 or at == size or code & VALUE:
            return
        check, begin = CHECK_NOTHING, at + 1
        if sent[at] == STRING:
            begin = at + 2
            if begin > size or sent[at + 1] != size - begin or code & NUMBER:
                return
            check = CHECK_PLAIN if code & (TEXT | IDENTITY) else CHECK_TEXT
            if check == CHECK_PLAIN and not _looks_plain(sent, begin):
                return
        elif sent[at] in (INTEGER, BOOLEAN) and ANY_NUMBER(sent, begin):
            check = CHECK_POSITIVE if code & (TEXT | NUMBER) else CHECK_NUMBER
            if check == CHECK_POSITIVE and not (sent[at] == INTEGER and POSITIVE_NUMBER(sent, begin)):
                return
        elif sent[at] != DOUBLE or size - at != 9 or code & (TEXT | NUMBER):
            return
        if len(self.forms) >= MOST_FORMS:
            self.forms.clear()
        self.forms[sent[: at + 1]] = size, begin, check, found


def sound(tag: int, content: bytes) -> None:
    """Whether a field of a span can be read, as deep in a request as it stands. Raises UnscannableError when not."""
    try:
        ExportTraceServiceRequest.FromString(message(0x0A, message(0x12, message(0x12, message(tag, content)))))
    except DecodeError as error:
        raise UnscannableError("a span cannot be read") from error


def _all_are(form: _Form, alike: list[bytes]) -> bool:
    """Whether attributes that begin as `form` does are certainly of it. A column of their bytes at a time."""
    size, at, check, _ = form
    if {*map(len, alike)} - {size}:
        return False
    together = b"".join(alike)
    if check >= CHECK_NUMBER:
        last = LAST if check == CHECK_NUMBER else LAST[1:]
        return not together[size - 1 :: size].translate(None, last) and not any(
            together[byte::size].translate(None, MORE) for byte in range(at, size - 1)
        )
    if check and (together[at - 1 :: size].count(size - at) != len(alike) or not together.isascii()):
        return False
    return check != CHECK_PLAIN or not (
        b"\0" in together
        or together[at::size].translate(None, PLAIN)
        or together[size - 1 :: size].translate(None, PLAIN)
    )


def _looks_plain(sent: bytes, at: int) -> bool:
    """Whether the text from `at` on is certainly plain."""
    return at < len(sent) and 0x20 < sent[at] < 0x7F and 0x20 < sent[-1] < 0x7F and b"\0" not in sent


def _is_text(sent: bytes) -> bool:
    """Whether an attribute is text of at most 16,000 bytes, of the usual form and sound."""
    size = len(sent)
    if size < 8 or sent[0] != 0x0A or sent[1] > 127 or sent[1] + 8 > size:
        return False
    at = sent[1] + 2
    if sent[at] != 0x12:
        return False
    value, at = _short(sent, at + 1)
    if value != size - at or sent[at] != STRING:
        return False
    text, at = _short(sent, at + 1)
    if text != size - at:
        return False
    if not sent.isascii():
        try:
            sent[2 : 2 + sent[1]].decode()
            sent[at:].decode()
        except UnicodeDecodeError as error:
            raise UnscannableError("an attribute is no text") from error
    return True


def _short(s: bytes, i: int) -> tuple[int, int]:
    """A number of one or two bytes at `i`, -1 for any other, and where it ends."""
    if s[i] < 128:
        return s[i], i + 1
    return (s[i] & 127 | s[i + 1] << 7, i + 2) if s[i + 1] < 128 else (-1, i)


def usual(sent: bytes) -> int:
    """Where the value of an attribute begins; 0 unless it is a key of at most 127 bytes and a value, once each."""
    size = len(sent)
    if size < 4 or sent[0] != 0x0A:
        return 0
    at = 2 + sent[1]
    if at > 129 or at + 1 >= size or sent[at] != 0x12:
        return 0
    length, at = varint(sent, at + 1)
    return at if length == size - at else 0


def plain_text(attribute: bytes, at: int) -> int:
    """Where the text of an identity begins, whose value begins at `at`; 0 unless it names something as it is."""
    to = len(attribute)
    if at == to or attribute[at] != STRING:
        return 0
    size, at = varint(attribute, at + 1)
    if at + size != to or not size:
        return 0
    text = attribute[at:]
    if b"\0" in text:
        return 0
    if 0x20 < text[0] < 0x7F and 0x20 < text[-1] < 0x7F and size <= LONGEST_TEXT:
        return at
    found = text.decode()
    return at if len(found) <= LONGEST_TEXT and found == found.strip() else 0


def text_class(attribute: bytes, at: int) -> bytes:
    """One byte for what certainly is text, another for a whole number, and the value itself for all else."""
    to = len(attribute)
    if at < to:
        if attribute[at] == STRING:
            size, begin = varint(attribute, at + 1)
            if size and begin + size == to and 0x20 < attribute[begin] < 0x7F:
                return b"\1"
        elif attribute[at] == INTEGER and POSITIVE_NUMBER(attribute, at + 1):
            return b"\2"
    return b"\3" + attribute[at:]


def number_class(attribute: bytes, at: int) -> bytes:
    """One byte for a number from 1 on, and the value itself for all else."""
    if at < len(attribute) and attribute[at] == INTEGER and POSITIVE_NUMBER(attribute, at + 1):
        return b"\2"
    return b"\3" + attribute[at:]
