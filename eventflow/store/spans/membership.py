"""Which flows a trace belongs to, kept true while spans arrive in any order.

A trace with correlation ids of its own belongs to those flows. One without belongs where the traces it links to belong
(and where the dead letter belongs whose replay it carries), else it is a flow by itself. When a trace's flows change,
the traces that inherited from it change too.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from eventflow.domain.hop import Context
from eventflow.domain.observations import Span
from eventflow.store.models import FlowMember, ReplayItem
from eventflow.store.spans import load
from eventflow.store.spans.rows import chunks, insert
from eventflow.store.spans.text import fit

Origins = Mapping[str, str]
"""Flow key → ``direct``, ``inherited`` or ``trace``."""

KEYS_PER_TRACE = 500
"""A trace that links to more flows than this (a huge batch) belongs to the first of them by name."""
ROUNDS = 16
"""How many links deep an id is inherited."""


def own_key(span: Span) -> str:
    """The flow a span names itself; empty if it names none."""
    return fit(span.correlation_id or (span.messaging.correlation_id if span.messaging else None))


@dataclass(slots=True)
class Membership:
    """The flows of the traces a step looks at, before and after it."""

    before: dict[str, Origins] = field(default_factory=dict)
    after: dict[str, Origins] = field(default_factory=dict)

    def changed(self) -> list[str]:
        """The traces whose rows must be written."""
        return sorted(trace for trace, now in self.after.items() if now != self.before.get(trace, {}))

    def keys(self, traces: Iterable[str]) -> set[str]:
        """The flows these traces belong to or belonged to before."""
        return {key for trace in traces for origins in (self.before, self.after) for key in origins.get(trace, ())}


def settle(new: Mapping[str, Mapping[Context, Span]]) -> Membership:
    """The membership once the `new` spans (by trace) are here."""
    found = Membership(before=dict(load.members(new.keys())))
    links: dict[str, set[str]] = {trace: _links(trace, spans.values()) for trace, spans in new.items()}
    known: dict[str, Origins] = {}
    for trace, spans in new.items():
        direct = {key for key, origin in found.before.get(trace, {}).items() if origin == "direct"}
        direct |= {key for span in spans.values() if (key := own_key(span))}
        known[trace] = dict.fromkeys(direct, "direct") if direct else found.before.get(trace, {trace: "trace"})
    without = {trace for trace, origins in known.items() if "direct" not in origins.values()}
    for trace, targets in load.links_from(without).items():
        links[trace] |= targets
    keys_of_replays = _replayed(without, links)
    moved = {trace for trace in new.keys() - without if known[trace] != found.before.get(trace)}
    pending = without
    for _ in range(ROUNDS):
        moved |= _inherit(pending, links, known, keys_of_replays)
        if not moved:
            break
        pending = _dependents(moved, links, known, found)
        moved = set()
    found.after = {trace: known[trace] for trace in known if trace in new or known[trace] != found.before.get(trace)}
    return found


def write(membership: Membership) -> None:
    """Store the changes."""
    changed = membership.changed()
    for part in chunks(changed):
        gone = [trace for trace in part if set(membership.before.get(trace, {})) - set(membership.after[trace])]
        if gone:
            FlowMember.objects.filter(trace_id__in=gone).delete()
    insert(
        FlowMember,
        ("trace_id", "key", "origin"),
        [(trace, key, origin) for trace in changed for key, origin in sorted(membership.after[trace].items())],
        unique=("trace_id", "key"),
        update=("origin",),
    )


def _links(trace: str, spans: Iterable[Span]) -> set[str]:
    return {link.trace_id for span in spans for link in span.links} - {trace}


def _inherit(
    pending: Collection[str],
    links: Mapping[str, set[str]],
    known: dict[str, Origins],
    keys_of_replays: Mapping[str, set[str]],
) -> set[str]:
    """One round: what each pending trace gets from the traces it links to. Returns those that changed."""
    moved = set()
    strangers = {target for trace in pending for target in links.get(trace, ())} - known.keys()
    stored = load.members(strangers)
    for trace in sorted(pending):
        keys = set(keys_of_replays.get(trace, ()))
        for target in links.get(trace, ()):
            # Nothing is known of a target that has not come yet; it may be a replay, whose flow is.
            keys.update(known.get(target) or stored.get(target) or keys_of_replays.get(target, {target}))
        inherited: Origins = dict.fromkeys(sorted(keys)[:KEYS_PER_TRACE], "inherited") if keys else {trace: "trace"}
        if inherited != known[trace]:
            known[trace] = inherited
            moved.add(trace)
    return moved


def _dependents(moved: set[str], links: dict[str, set[str]], known: dict[str, Origins], found: Membership) -> set[str]:
    """The traces without an id of their own that link to the moved ones."""
    sources = {trace for trace, targets in links.items() if targets & moved}
    for stored in load.links_to(moved).values():
        sources |= stored
    strangers = sources - known.keys()
    members = load.members(strangers)
    found.before.update(members)
    known.update(members)
    heirs = {trace for trace in sources if trace in known and "direct" not in known[trace].values()}
    for trace, targets in load.links_from(heirs & strangers).items():
        links.setdefault(trace, set()).update(targets - {trace})
    return heirs


def _replayed(traces: Collection[str], links: dict[str, set[str]]) -> dict[str, set[str]]:
    """Trace that carries a replay → the flows its letters name; a letter that names none gives a link to its trace."""
    sources: dict[str, set[str]] = {}
    for trace in traces:
        for source in (trace, *links[trace]):
            sources.setdefault(source, set()).add(trace)
    keys: dict[str, set[str]] = {}
    for part in chunks(sources):
        rows = ReplayItem.objects.filter(trace_id__in=part)
        for source, letter_trace, key in rows.values_list("trace_id", "letter__trace_id", "letter__correlation_id"):
            named = keys.setdefault(source, set())
            if key:
                named.add(fit(key))
            elif letter_trace:
                for trace in sources[source] - {letter_trace}:
                    links[trace].add(letter_trace)
    return keys
