"""Hides secrets from eyes: header values, payload fields and free text whose name or shape says "secret".

Pure. For showing only: what is stored and what is replayed keeps its true value.
"""

import re
from collections.abc import Iterable
from typing import Any

REDACTED = "«redacted»"

_SECRET_WORDS = re.compile(
    r"authorization|cookie|token|passw|passphrase|secret|api[-_.]?key|apikey|private[-_.]?key|credential|session[-_.]?id|"
    r"card[-_.]?number|cardnumber|cvv|cvc|\bpan\b|iban|\bpin\b|\bssn\b|signature",
    re.IGNORECASE,
)
_NOT_SECRET = re.compile(r"^(?:eventflow-replay|.*token[-_.]?(?:count|type)s?)$", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?P<name>[\w.-]*(?:passw(?:or)?d|secret|token|api[-_]?key)[\w.-]*)(?P<eq>[\"']?\s*[=:]\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&}\"']+)",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(\w[\w+.-]*://)[^/\s:@]*:[^/\s@]+@")
_DIGITS = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")


def is_secret_name(name: str) -> bool:
    """Whether a header or field of this name holds a secret."""
    return bool(_SECRET_WORDS.search(name)) and not _NOT_SECRET.match(name)


def _is_card(digits: str) -> bool:
    """Luhn's check: a long number that fails it is no card and stays readable."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(match: re.Match[str]) -> str:
    return REDACTED if _is_card(re.sub(r"\D", "", match[0])) else match[0]


def text(value: str) -> str:
    """Free text without bearer tokens, assigned passwords, credentials in URLs and card numbers."""
    value = _BEARER.sub(lambda match: f"{match[1]} {REDACTED}", value)
    value = _USERINFO.sub(lambda match: f"{match[1]}{REDACTED}@", value)
    value = _ASSIGNED.sub(lambda match: f"{match['name']}{match['eq']}{REDACTED}", value)
    return _DIGITS.sub(_card, value)


def headers(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers as they may be shown."""
    return [(name, REDACTED if is_secret_name(name) else text(value)) for name, value in pairs]


def json_value(value: Any, name: str = "") -> Any:
    """A parsed JSON value as it may be shown. Under a secret name nothing is shown, whatever its shape."""
    if name and is_secret_name(name) and value not in (None, "", [], {}):
        return REDACTED
    if isinstance(value, dict):
        return {key: json_value(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [json_value(inner) for inner in value]
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int) and not isinstance(value, bool) and len(str(value)) >= 13:
        return REDACTED if _is_card(str(abs(value))) else value
    return value
