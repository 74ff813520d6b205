"""Whether letters arrive, and how near to its end what waits is."""

from datetime import UTC, datetime, timedelta

from eventflow.domain.letter_place import LetterPlace

NOW = datetime(2026, 11, 19, 14, 0, tzinfo=UTC)


def place(**given: object) -> LetterPlace:
    values = {"letters_of": ("payment",), "messages": 10, **given}
    return LetterPlace("shop", "nats", "dlq.payment", **values)  # type: ignore[arg-type]  # by name


def test_time_and_room_are_both_looked_at_and_the_worse_one_counts() -> None:
    timed = {"kept_seconds": 3600.0, "oldest_at": NOW - timedelta(minutes=45)}
    assert place(**timed).share(NOW) == 75
    assert place(kept_messages=40).share(NOW) == 25
    assert place(**timed, kept_messages=40).share(NOW) == 75
    assert place(**timed, kept_messages=11).share(NOW) == 1000 / 11


def test_without_a_limit_or_letters_nothing_is_near_its_end() -> None:
    assert place(oldest_at=NOW - timedelta(days=900)).share(NOW) is None
    assert place(kept_seconds=60.0).share(NOW) is None
    assert place(messages=0, kept_seconds=60.0, oldest_at=NOW - timedelta(hours=1)).share(NOW) is None
    assert place(messages=0, kept_messages=10).trouble(NOW) == ""


def test_what_is_wrong_is_said_in_words() -> None:
    assert place(lost="there is no exchange x").trouble(NOW) == "there is no exchange x"
    late = place(kept_seconds=3600.0, oldest_at=NOW - timedelta(minutes=45))
    assert late.trouble(NOW) == "the broker keeps each for 1 h 00 m, the oldest for 15 m 00 s more"
    assert place(kept_seconds=60.0, oldest_at=NOW - timedelta(minutes=45)).trouble(NOW).endswith("some are older")
    assert place(kept_messages=12).trouble(NOW) == "10 of at most 12 are kept"
    assert place(kept_messages=20).trouble(NOW) == ""
