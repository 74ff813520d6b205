"""A message body as it may be shown: a JSON tree, text, or a note that it is bytes. Secrets hidden, sizes bounded."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from eventflow.domain import redaction

MAX_NODES = 2_000
MAX_DEPTH = 24
MAX_TEXT = 64 * 1024


@dataclass(slots=True)
class Node:
    """One value of a JSON tree. kind: object, array, string, number, literal, redacted, cut."""

    kind: str
    text: str = ""
    key: str | None = None
    children: list["Node"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows of a body. `text` is what Copy gives; None where there is nothing that can be read."""

    kind: str
    """json, text, bytes, none"""
    text: str | None = None
    tree: Node | None = None
    cut: bool = False


def shown(payload: bytes | memoryview | None) -> Shown:
    """How to show `payload`."""
    if payload is None:
        return Shown("none")
    body = bytes(payload)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        head = base64.b64encode(body[:3072]).decode()
        return Shown("bytes", head, cut=len(body) > 3072)
    try:
        value = redaction.json_value(json.loads(text))
        clean = json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return Shown("text", redaction.text(text[:MAX_TEXT]), cut=len(text) > MAX_TEXT)
    return Shown("json", clean[:MAX_TEXT], _tree(value, None, [0], 0), cut=len(clean) > MAX_TEXT)


def _tree(value: Any, key: str | None, seen: list[int], depth: int) -> Node:
    seen[0] += 1
    if isinstance(value, dict | list):
        kind = "object" if isinstance(value, dict) else "array"
        node = Node(kind, str(len(value)), key)
        if depth >= MAX_DEPTH:
            node.children.append(Node("cut", "deeper levels are not shown"))
            return node
        pairs = value.items() if isinstance(value, dict) else ((None, inner) for inner in value)
        for name, inner in pairs:
            if seen[0] >= MAX_NODES:
                node.children.append(Node("cut", "the rest is not shown here; copy gives it"))
                break
            node.children.append(_tree(inner, name, seen, depth + 1))
        return node
    if value == redaction.REDACTED:
        return Node("redacted", "redacted", key)
    if isinstance(value, str):
        return Node("string", json.dumps(value, ensure_ascii=False), key)
    if isinstance(value, bool) or value is None:
        return Node("literal", json.dumps(value), key)
    return Node("number", json.dumps(value), key)
