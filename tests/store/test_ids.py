"""A text has one hash, whether it is hashed by itself or among many."""

import random

import numpy as np

from eventflow.store.spans import ids


def test_a_text_alone_has_the_hash_that_it_has_among_others() -> None:
    chance = random.Random(1)
    texts = [b"", b"a", b"12345678", b"123456789", *(chance.randbytes(size) for size in range(40))]
    body = b"".join(texts)
    lengths = np.array([len(text) for text in texts])
    together = ids.texts([b"before", body], np.ones(len(texts), np.int64), np.cumsum(lengths) - lengths, lengths)
    assert [int(ids.hashed(text)[0]) for text in texts] == together.tolist()
    assert len(set(together.tolist())) == len(set(texts))


def test_kinds_of_ids_are_kept_apart() -> None:
    text = ids.hashed(b"17")
    kinds = (
        ids.of_keys(text),
        ids.of_messages(text),
        ids.of_traces(text),
        ids.of_linked(text),
        ids.of_values(text, text),
    )
    assert len({int(one[0]) for one in kinds}) == len(kinds)
