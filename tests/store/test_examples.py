"""A flow's spans made out of others of their shape are judged as they would be themselves."""

import random

import numpy as np
import pytest

from eventflow.domain.flow import assemble, summarise
from eventflow.domain.observations import Span
from eventflow.store.spans import form
from eventflow.store.spans.examples import LARGEST, Examples
from eventflow.store.spans.handover import Part
from eventflow.store.spans.memory import Memory
from eventflow.store.spans.window import Window, window
from tests.flow_factory import KEY, consume, link, publish, span
from tests.store.pickled import encode
from tests.store.support import NOW

pytestmark = pytest.mark.django_db


def order(number: int, chance: random.Random, note: str = "") -> list[Span]:
    """A request, what it published, and one to three attempts to read that."""
    start = number * 1_000
    found = [
        span(f"request {number}", start, start + 9, service="web", trace_name=f"{number}", title="request"),
        publish(f"p{number}", start + 1, start + 3, service="web", to="jobs", parent=f"request {number}",
                trace_name=f"{number}", message_id=f"m-{number}", title="send jobs"),
    ]  # fmt: skip
    attempts = chance.randint(1, 3)
    for attempt in range(1, attempts + 1):
        begun = start + 10 * attempt + chance.randint(0, 5)
        # Joined by a link, by its parent, or by message id and time alone.
        own = {"trace_name": f"{number} {attempt}"}
        child = {"trace_name": f"{number}", "parent": f"p{number}"}
        joined = chance.choice(
            [own | {"links": [link(f"{number}", f"p{number}")]}, child, own | {"message_id": f"m-{number}"}]
        )
        failed = {"error": ("CardError", "no answer", note)} if attempt < attempts else {}
        found.append(
            consume(f"c{number} {attempt}", begun, begun + 4, service="worker", from_="jobs", group="w",
                    title="process jobs", attempt=attempt, **joined, **failed)
        )  # fmt: skip
    return found


def rows_of(spans: list[Span]) -> Window:
    body = encode(spans)
    part = Part(body, form.form().scan(body), np.ones(len(spans), bool))
    return window([part], frozenset({1}), Memory())


def line(spans: list[Span]) -> object:
    return summarise(assemble(KEY, spans, now=NOW))


def test_a_flow_made_of_examples_has_the_line_of_its_own_spans():
    chance, examples = random.Random(3), Examples()
    for number in range(40):
        spans = order(number, chance)
        rows = rows_of(spans)
        assert line(examples.spans(rows, np.arange(len(spans)), KEY)) == line(spans)


def test_a_span_is_kept_for_each_shape():
    examples = Examples()
    for number in range(1, 4):
        spans = order(number, random.Random(2))
        examples.spans(rows_of(spans), np.arange(len(spans)), KEY)
    assert len(examples) == len(spans)


def test_what_no_column_tells_is_read_of_every_span():
    examples = Examples()
    kafka = [publish("p", 0, 3, service="web", to="jobs", offset="7", title="send jobs")]
    made = examples.spans(rows_of(kafka), np.arange(1), KEY)
    other = [publish("q", 5, 8, service="web", to="jobs", offset="8", title="send jobs")]
    again = examples.spans(rows_of(other), np.arange(1), KEY)
    assert [one.messaging and one.messaging.offset for one in (*made, *again)] == ["7", "8"]


def test_spans_that_are_large_are_not_kept():
    examples = Examples()
    large = order(1, random.Random(0), "x" * LARGEST)
    examples.spans(rows_of(large), np.arange(len(large)), KEY)
    assert len(examples) < len(large)
