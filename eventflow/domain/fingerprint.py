"""Which dead letters have the same cause: cause type, first application frame, consumer, message without ids.

Pure and stable: the same letter gives the same fingerprint in every version, since groups keep their notes by it.
"""

import hashlib
import re
from dataclasses import dataclass

from eventflow.domain import stack as stacks
from eventflow.domain.observations import DeadLetter

MAX_MESSAGE = 300

_MASKS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "‹uuid›"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "‹email›"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE), "‹url›"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"), "‹time›"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\b[\w-]+(?:\.[\w-]+)+:\d{2,5}\b"), "‹host›"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "‹id›"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "‹hex›"),
    (re.compile(r"(?<![\w‹])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*[-_]?\w*(?![\w›])"), "‹id›"),
    (re.compile(r"(?<![\w‹])[-+]?\d[\d,.]*(?![\w›])"), "‹n›"),
)
_STATUS = re.compile(r"\b(HTTP|status(?: code)?|code)([ =:]+)(\d{3})\b", re.IGNORECASE)
_QUOTED = re.compile(r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One cause. `digest` is its identity, `title` and `message` are for people."""

    digest: str
    title: str
    error_type: str
    message: str
    frame: str


def mask(message: str) -> str:
    """`message` without what differs from letter to letter. A status code stays: it is part of the cause."""
    text = " ".join(message.split())[: MAX_MESSAGE * 4]
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[3])
        return f"{match[1]}{match[2]}\x00{chr(0xE000 + len(kept) - 1)}\x00"

    text = _STATUS.sub(keep, text)
    text = _QUOTED.sub("‹str›", text)
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    text = re.sub("\x00([\ue000-\uf8ff])\x00", lambda match: kept[ord(match[1]) - 0xE000], text)
    return text[:MAX_MESSAGE]


def _place(frame: stacks.Frame | None) -> str:
    """A frame without its line (it moves with every edit) and without the machine's folders."""
    if frame is None:
        return ""
    file = "/".join(re.split(r"[/\\]", frame.file)[-2:])
    return f"{file}:{frame.name}" if file and frame.name else file or frame.name


def fingerprint(letter: DeadLetter) -> Fingerprint:
    """The cause of one letter, as far as the letter itself tells."""
    stack = letter.stack or ""
    cause = stacks.cause_line(stack)
    kind, message = cause or (letter.error_type or "", letter.error_message or "")
    frame = stacks.first_own(stack)
    masked = mask(message)
    consumer = letter.group or letter.service or ""
    parts = (kind, _place(frame), letter.source, consumer, letter.destination or letter.location, masked)
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
    short = re.split(r"[.$/]", kind)[-1]
    title = short or (masked[:80] if masked else f"Failed at {consumer or letter.destination or letter.location}")
    return Fingerprint(digest, title[:300], kind, masked, frame.text if frame else "")
