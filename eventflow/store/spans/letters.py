"""Which rows of a window belong to flows with dead letters or replays: their lines are made by themselves."""

import numpy as np

from eventflow.store.models import DeadLetter, ReplayItem
from eventflow.store.spans import arrays, ids
from eventflow.store.spans.columns import Flags
from eventflow.store.spans.load import hash_of, is_trace
from eventflow.store.spans.rows import select, select_any
from eventflow.store.spans.window import Window

FEW_LETTERS = 5_000
"""With more dead letters than this, each flow asks for its own."""
FEW_ROWS = 256
"""Rows whose letters are asked for by name, before all letters are looked at."""


def with_letters(window: Window) -> Flags:
    """The rows that a letter or a replay names; all of them where that can't be told."""
    found = np.zeros(len(window.portion), bool)
    if len(found) <= FEW_ROWS and not _any(window):
        return found
    letters = DeadLetter.objects.values_list("correlation_id", "trace_id", "message_id")[: FEW_LETTERS + 1]
    named, traces, messages = (set(column) - {""} for column in zip(*letters, strict=True)) if letters else [set()] * 3
    if len(letters) > FEW_LETTERS:
        return ~found
    traces.update(ReplayItem.objects.exclude(trace_id="").values_list("trace_id", flat=True))
    keys = window.keys.key, ids.of_keys(ids.hashed([key.encode() for key in named]))
    others = window.keys.message, ids.of_messages(ids.hashed([one.encode() for one in messages]))
    for here, wanted in (keys, others):
        found[here.row[arrays.among(here.hash, wanted)[0]]] = True
    return found | arrays.among(window.portion.trace, hash_of(list(filter(is_trace, traces))))[0]


def _any(window: Window) -> bool:
    """Whether there is a letter or replay for one of these rows at all: for few rows that is asked quickly."""
    raw = window.portion.trace_ids.tobytes().hex()
    traces = {raw[at : at + 32] for at in range(0, len(raw), 32)}
    names = {
        "correlation_id": {window.keys.key.text(at) for at in range(len(window.keys.key.row))},
        "trace_id": traces,
        "message_id": {window.keys.message.text(at) for at in range(len(window.keys.message.row))},
    }
    return any(select_any(DeadLetter, "id", names)) or any(select(ReplayItem, ("id",), {"trace_id": traces}))
