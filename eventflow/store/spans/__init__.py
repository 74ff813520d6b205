"""The span engine: everything about spans that touches the database, behind these few functions.

    receiver ── append ──▶ Inbox ────────────── digest ───────────────┐ one transaction per step:
       ▲      (fsync, then  (bodies as          (prepared without     │ the inbox rows go,
       └─ ack  acknowledge)  acknowledged)       a lock)              ▼ all of this comes
                                                                      │
       StoredSpan ◀── whole spans, once each by (trace, span) ────────┤
       StoredLink ◀── links between traces, for the way back ─────────┤
       FlowMember ◀── trace → flows, ids inherited over links ────────┤
       MessageTrace ◀ message id → traces ────────────────────────────┤
       Edge, EdgeSlot ◀ the topology's sums, 10 s → minutes → hours ──┤
       LibraryCount ◀ what libraries' spans lack ─────────────────────┤
       FlowRow ◀───── a line per flow, as the domain judges it ───────┘

       reads: flow_spans, trace_spans, consumers_of;  store/queries/flows.py and topology.py for lists and sums

Promises: what `append` returned for is durable. A crash at any moment loses nothing and counts nothing twice; a request
sent again changes nothing; spans may arrive in any order. Never: a broker, a protocol, the wall clock.
"""

from eventflow.store.spans.digest import Decode, Digested, digest
from eventflow.store.spans.inbox import GroupCommit, StoreBusy, append, inbox_depth
from eventflow.store.spans.reads import consumers_of, flow_spans, recheck, refresh_flows, trace_spans
from eventflow.store.spans.retention import compact, prune
from eventflow.store.spans.summaries import FlowSpans

__all__ = [
    "Decode",
    "Digested",
    "FlowSpans",
    "GroupCommit",
    "StoreBusy",
    "append",
    "compact",
    "consumers_of",
    "digest",
    "flow_spans",
    "inbox_depth",
    "prune",
    "recheck",
    "refresh_flows",
    "trace_spans",
]
