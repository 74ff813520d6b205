"""Values of the attributes that flows are found by: one hash over a key's name and its value, as it stands in the span.

What a span says of itself and no more: a value joins no flows and names none.
"""

import numpy as np

from eventflow.domain.columns import Format
from eventflow.store.spans import ids
from eventflow.store.spans.arrays import text_hashes
from eventflow.store.spans.columns import U64, Ints, Portion


def of_portion(portion: Portion, form: Format) -> U64:
    """The hash of every value of a portion."""
    if not len(portion.value_row):
        return np.zeros(0, np.uint64)
    numbers, place = np.unique(portion.value_name, return_inverse=True)
    names = np.array([_name(form.names[number]) for number in numbers.tolist()], np.uint64)
    places = (portion.value_request, portion.value_offset, portion.value_length)
    return ids.of_values(names[place], text_hashes(portion.bodies, *(one.astype(np.int64) for one in places)))


def of_text(name: str, value: str, form: Format) -> U64:
    """The hashes of all that such a value may be."""
    written = ids.hashed(form.written(value))
    return ids.of_values(np.full(len(written), _name(name), np.uint64), written)


def rows_with(portion: Portion, wanted: U64, form: Format) -> Ints:
    """The rows that hold one of these values, each once."""
    found: Ints = np.unique(portion.value_row[np.isin(of_portion(portion, form), wanted)])
    return found


def _name(name: str) -> int:
    return int(ids.hashed([name.encode()])[0])
