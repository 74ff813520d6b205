"""Spans for a judgement made out of others of their shape: of two spans of one shape it sees the same, but for what the
columns tell. Reading a span whole costs more than all of the rest.

These spans have made-up message ids and parents outside of the flow. They are for judging, never for showing.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from eventflow.domain.hop import Context, evidence
from eventflow.domain.observations import Messaging, Span, SpanLink
from eventflow.store.spans import form
from eventflow.store.spans.columns import Ints, Portion
from eventflow.store.spans.keys import read_whole
from eventflow.store.spans.meaning import Meanings
from eventflow.store.spans.window import Window

KNOWN = 1_024
LARGEST = 16_384
"""Characters of a span that is kept."""


class Examples:
    """A span of each shape met lately."""

    def __init__(self) -> None:
        self._known: dict[int, Span] = {}
        self._meanings: Meanings | None = None

    def __len__(self) -> int:
        return len(self._known)

    def spans(self, window: Window, rows: Ints, key: str) -> list[Span]:
        """The rows, which are of one flow with this key and none of them odd, as far as they are judged."""
        if self._meanings is not form.meanings() or len(self._known) > KNOWN:
            # Shapes are numbered by the format and the keys that are chosen.
            self._known, self._meanings = {}, form.meanings()
        shapes = window.meaning[rows].tolist()
        unknown = rows[[shape not in self._known for shape in shapes]]
        read = read_whole(window.portion, unknown, form.form())
        examples = [read.get(row) or self._known[shape] for row, shape in zip(rows.tolist(), shapes, strict=True)]
        self._known.update({int(window.meaning[row]): span for row, span in read.items() if _speaks_for_others(span)})
        return _made(window, rows, key, examples)


def _speaks_for_others(span: Span) -> bool:
    """Not where its position in a log is looked at, or an id that a link carries: these are in no column."""
    proof = evidence(span)
    own = {span.messaging.message_id} if span.messaging else set()
    told = proof is None or (proof.offset is None and own.issuperset(proof.message_ids))
    return told and len(repr(span)) <= LARGEST


def _made(window: Window, rows: Ints, key: str, examples: list[Span]) -> list[Span]:
    portion, messages = window.portion, window.keys.message
    inside = {
        context: _context(portion, row)
        for context, row in zip(portion.context[rows].tolist(), rows.tolist(), strict=True)
    }
    links: dict[int, list[Context]] = defaultdict(list)
    for at in _of_rows(portion.link_row, rows):
        trace_id = portion.link_trace_ids[at].tobytes().hex()
        links[int(portion.link_row[at])].append(_named(inside, trace_id, int(portion.link_context[at])))
    # The ids of odd rows, which these are not, stand behind all others.
    carried = _of_rows(messages.row[: len(messages.row) - len(messages.texts)], rows)
    message = dict(zip(messages.row[carried].tolist(), map(str, messages.hash[carried].tolist()), strict=True))
    told = [one[rows].tolist() for one in (portion.context, portion.parent, portion.start, portion.end)]
    return [
        replace(
            example,
            trace_id=inside[context].trace_id,
            span_id=inside[context].span_id,
            parent_id=_named(inside, inside[context].trace_id, parent).span_id if parent else None,
            start_ns=start,
            end_ns=end,
            links=_links(example, links[row]),
            correlation_id=key if example.correlation_id else None,
            messaging=_messaging(example.messaging, key, message.get(row)),
        )
        for row, example, context, parent, start, end in zip(rows.tolist(), examples, *told, strict=True)
    ]


def _of_rows(owners: Ints, rows: Ints) -> list[int]:
    """Where these rows stand in an ascending column of rows."""
    begins, ends = owners.searchsorted(rows), owners.searchsorted(rows, side="right")
    return [at for begin, end in zip(begins.tolist(), ends.tolist(), strict=True) for at in range(begin, end)]


def _context(portion: Portion, row: int) -> Context:
    return Context(portion.trace_ids[row].tobytes().hex(), portion.span_ids[row].tobytes().hex())


def _named(inside: Mapping[int, Context], trace_id: str, context: int) -> Context:
    """An address; one outside of the flow gets a name of its own, the same whoever names it."""
    return inside.get(context) or Context(trace_id, str(context))


def _links(example: Span, targets: list[Context]) -> tuple[SpanLink, ...]:
    if len(targets) != len(example.links):
        return tuple(SpanLink(*target) for target in targets)
    return tuple(SpanLink(*target, link.attributes) for link, target in zip(example.links, targets, strict=True))


def _messaging(example: Messaging | None, key: str, message: str | None) -> Messaging | None:
    if example is None:
        return None
    return replace(
        example,
        message_id=message if example.message_id else None,
        correlation_id=key if example.correlation_id else None,
    )
