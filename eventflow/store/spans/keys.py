"""The ids that the rows of a portion are found by: their flow's key and their message's id, as texts and hashes.

What the columns don't tell truly (`odd` rows) is read whole, by the rules that hold for every span.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eventflow.domain.columns import Format
from eventflow.domain.hop import evidence
from eventflow.domain.observations import Span
from eventflow.store.spans import ids
from eventflow.store.spans.columns import U64, Array, Flags, Ints, Portion
from eventflow.store.spans.meaning import Meanings
from eventflow.store.spans.text import fit, own_key

_KEY_NAME, _MESSAGE_NAME = 6, 7
LINKED_MESSAGE_IDS = ("messaging.message.id", "messaging.message_id")


@dataclass(frozen=True, slots=True)
class Keys:
    """Rows with the key of their flow, and rows with the id of a message; hashes beside texts (UTF-8)."""

    key_row: Ints
    key: U64
    key_text: list[bytes]
    message_row: Ints
    message: U64
    message_text: list[bytes]


def read_whole(portion: Portion, rows: Ints, form: Format) -> dict[int, Span]:
    """These rows' spans, whole."""
    found: dict[int, Span] = {}
    for request in np.unique(portion.request[rows]).tolist():
        mine = rows[portion.request[rows] == request]
        spans = form.read(portion.bodies[request], portion.columns[request], portion.index[mine].tolist())
        found.update(zip(mine.tolist(), spans, strict=True))
    return found


def keys_of(portion: Portion, meaning: Ints, meanings: Meanings, odd: Mapping[int, Span]) -> Keys:
    """The ids of every row; `odd` has the spans of the odd rows."""
    table = meanings.table()[meaning]
    plain = ~portion.odd[portion.ident_row]
    own = plain & (portion.ident_link == 0)
    name = portion.ident_name.astype(np.int64)
    is_key = own & (name == table[portion.ident_row, _KEY_NAME])
    is_message = own & (name == table[portion.ident_row, _MESSAGE_NAME])
    is_message |= plain & (portion.ident_link != 0) & np.isin(name, meanings.positions(LINKED_MESSAGE_IDS))
    key_rows, key_texts = _texts(portion, is_key)
    message_rows, message_texts = _texts(portion, is_message)
    for row, span in odd.items():
        if key := own_key(span):
            key_rows.append(row)
            key_texts.append(key.encode())
        proof = evidence(span)
        for message_id in proof.message_ids if proof else ():
            message_rows.append(row)
            message_texts.append(fit(message_id).encode())
    return Keys(
        np.array(key_rows, np.int64),
        _hashes([ids.of_key(text) for text in key_texts]),
        key_texts,
        np.array(message_rows, np.int64),
        _hashes([ids.of_message(text) for text in message_texts]),
        message_texts,
    )


def _texts(portion: Portion, chosen: Flags) -> tuple[list[int], list[bytes]]:
    at = np.flatnonzero(chosen)
    bodies = portion.bodies
    start = portion.ident_offset[at].astype(np.int64)
    texts = [
        bodies[request][low:high]
        for request, low, high in zip(
            portion.ident_request[at].tolist(),
            start.tolist(),
            (start + portion.ident_length[at]).tolist(),
            strict=True,
        )
    ]
    return portion.ident_row[at].tolist(), texts


def _hashes(values: list[int]) -> Array:
    return np.array(values, np.uint64)
