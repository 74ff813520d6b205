"""Spans as instrumented libraries really sent them (`recorded/record.py`), and the hops that they are."""

import json
import random
from pathlib import Path

import pytest

from tests.domain.recorded.summary import HERE, spans, summary

NOT_TOLD = {"redis"}
"""Its spans are of commands, with every argument taken out: which stream they are about, and whose messages, no one can
tell. Nothing must be made up."""
EXPECTED = json.loads((HERE / "expected.json").read_text())


def recorded() -> list[str]:
    return sorted(Path(file).stem for file in HERE.glob("*.json") if file.name != "expected.json")


def test_every_recording_has_its_hops_and_every_hop_its_recording() -> None:
    assert recorded() == sorted(EXPECTED)


@pytest.mark.parametrize("library", recorded())
def test_what_a_library_sent_is_what_happened(library: str) -> None:
    sent = spans(library)
    random.Random(library).shuffle(sent)
    assert summary(sent) == EXPECTED[library]


@pytest.mark.parametrize("library", sorted({*recorded()} - NOT_TOLD))
def test_each_of_two_orders_is_published_once_and_delivered_once(library: str) -> None:
    found = summary(spans(library))
    retried = 1 if library == "celery" else 0  # the task publishes itself again
    assert [hop["side"] for hop in found].count("publish") == 2 + retried
    assert sorted(of for hop in found for of in hop.get("of", [])) == list(range(2 + retried))  # type: ignore[attr-defined]
