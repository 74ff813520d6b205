"""The ids that the rows of a portion are found by: their flow's key and their message's id, as texts and hashes.

What the columns don't tell truly (`odd` rows) is read whole, by the rules that hold for every span.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eventflow.domain.columns import Format
from eventflow.domain.hop import evidence
from eventflow.domain.observations import Span
from eventflow.store.spans import arrays, ids
from eventflow.store.spans.columns import U64, Flags, Ints, Portion
from eventflow.store.spans.meaning import Meanings
from eventflow.store.spans.text import fit, own_key

_KEY_NAME, _MESSAGE_NAME = 6, 7
LINKED_MESSAGE_IDS = ("messaging.message.id", "messaging.message_id")


@dataclass(frozen=True, slots=True)
class Ids:
    """Rows of a portion and an id that each carries: its hash, and where its text lies (`at`: an ident, or `texts`).

    A row may stand here several times. Texts are UTF-8.
    """

    row: Ints
    hash: U64
    at: Ints
    texts: list[bytes]
    portion: Portion

    def text(self, position: int) -> str:
        """The text at a position of these arrays."""
        return self.texts_at([position])[0]

    def texts_at(self, positions: "Ints | list[int] | slice") -> list[str]:
        """The texts at positions of these arrays."""
        at = self.at[positions]
        inside, bodies = np.maximum(at, 0), self.portion.bodies
        if not len(self.portion.ident_row):
            return [self.texts[-1 - one].decode() for one in at.tolist()]
        columns = (self.portion.ident_request, self.portion.ident_offset, self.portion.ident_length)
        places = zip(at.tolist(), *(column[inside].tolist() for column in columns), strict=True)
        return [
            str(bodies[request][start : start + length] if one >= 0 else self.texts[-1 - one], "utf-8")
            for one, request, start, length in places
        ]


@dataclass(frozen=True, slots=True)
class Keys:
    """Which rows carry the key of their flow, and which the id of a message."""

    key: Ids
    message: Ids


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
    return Keys(flows_of(portion, meaning, meanings, odd), messages_of(portion, meaning, meanings, odd))


def flows_of(portion: Portion, meaning: Ints, meanings: Meanings, odd: Mapping[int, Span]) -> Ids:
    """The keys of flows alone."""
    own = ~portion.odd[portion.ident_row] & (portion.ident_link == 0)
    chosen = own & (portion.ident_name == meanings.table()[:, _KEY_NAME][meaning][portion.ident_row])
    keys = [(row, key.encode()) for row, span in odd.items() if (key := own_key(span))]
    return _ids(portion, chosen, keys, ids.of_keys)


def messages_of(portion: Portion, meaning: Ints, meanings: Meanings, odd: Mapping[int, Span]) -> Ids:
    """The ids of messages alone."""
    plain = ~portion.odd[portion.ident_row]
    own = portion.ident_name == meanings.table()[:, _MESSAGE_NAME][meaning][portion.ident_row]
    linked = np.isin(portion.ident_name, meanings.positions(LINKED_MESSAGE_IDS))
    chosen = plain & np.where(portion.ident_link == 0, own, linked)
    messages: list[tuple[int, bytes]] = []
    for row, span in odd.items():
        proof = evidence(span)
        messages += [(row, fit(message_id).encode()) for message_id in (proof.message_ids if proof else ())]
    return _ids(portion, chosen, messages, ids.of_messages)


def _ids(portion: Portion, chosen: Flags, others: Sequence[tuple[int, bytes]], kind: Callable[[U64], U64]) -> Ids:
    """The chosen identities of a portion, and texts that stand elsewhere."""
    at = np.flatnonzero(chosen)
    inside = arrays.text_hashes(
        portion.bodies,
        portion.ident_request[at].astype(np.int64),
        portion.ident_offset[at].astype(np.int64),
        portion.ident_length[at].astype(np.int64),
    )
    texts = [text for _, text in others]
    return Ids(
        row=np.concatenate((portion.ident_row[at], np.array([row for row, _ in others], np.int64))),
        hash=kind(np.concatenate((inside, ids.hashed(texts)))),
        at=np.concatenate((at, -1 - np.arange(len(texts)))),
        texts=texts,
        portion=portion,
    )
