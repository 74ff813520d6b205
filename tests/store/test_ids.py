"""Ids of different kinds that read alike are not taken for each other."""

from eventflow.store.spans import ids


def test_kinds_of_ids_are_kept_apart() -> None:
    text = ids.hashed([b"17"])
    kinds = (
        ids.of_keys(text),
        ids.of_messages(text),
        ids.of_traces(text),
        ids.of_linked(text),
        ids.of_values(text, text),
    )
    assert len({int(one[0]) for one in kinds}) == len(kinds)
