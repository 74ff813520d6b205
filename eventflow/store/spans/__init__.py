"""The span engine: everything about spans that touches the database, behind these few functions.

    receivers ── append ─▶ Inbox ──────── digest ───────────┐ scanned into columns, sorted by flow, summed;
       ▲      (fsync, then  (bodies as     (one process at a │ one transaction per step: the requests go,
       └─ ack  acknowledge)  acknowledged)  time)            ▼ all of this comes
                                                             │
       Chunk ◀─────── some hundred spans of few flows as one export request, zstd ───┤
       IndexRun/Page ◀ key, trace, message, linked trace, attribute → chunks; sorted, merged ───┤
         /Filter     (which hashes a merged run has, about: most pages need not be read)        │
       Edge, EdgeSlot ◀ the topology's sums, 10 s → minutes → hours ─────────────────┤
       LibraryCount ◀ what libraries' spans lack ────────────────────────────────────┘
                                                             │ new chunks
       FlowRow ◀───── a line per flow, as the domain judges it ── judge
       FlowPattern ◀── what many lines say alike

       reads: flow_spans, trace_spans, consumers_of;  store/queries/flow_search.py and topology.py for lists and sums

What a span means is judged once per shape (meaning.py); what counts for a trace is summed span by span in arrays
(sums.py) or, where its spans speak for each other, judged whole (whole.py). Which flows a trace belongs to is never
stored: it follows from the spans, and is worked out when reading (load.py).

Promises: what `append` returned for is durable. A crash at any moment loses nothing and counts nothing twice; a request
sent again changes nothing; spans may arrive in any order. Never: a broker, a protocol, the wall clock.
"""

from eventflow.store.spans.claim import Claim
from eventflow.store.spans.digest import Digested, commit_without_disk, digest
from eventflow.store.spans.fresh import channel
from eventflow.store.spans.inbox import GroupCommit, StoreBusy, append, inbox_depth, more_wait_than
from eventflow.store.spans.judge import LINES_AT_ONCE, belonging, judge, recheck, refresh_flows, waiting
from eventflow.store.spans.reads import consumers_of, flow_spans, trace_spans
from eventflow.store.spans.repack import tidy
from eventflow.store.spans.retention import compact, prune, shrink
from eventflow.store.spans.summaries import FlowSpans

__all__ = [
    "LINES_AT_ONCE",
    "Claim",
    "Digested",
    "FlowSpans",
    "GroupCommit",
    "StoreBusy",
    "append",
    "belonging",
    "channel",
    "commit_without_disk",
    "compact",
    "consumers_of",
    "digest",
    "flow_spans",
    "inbox_depth",
    "judge",
    "more_wait_than",
    "prune",
    "recheck",
    "refresh_flows",
    "shrink",
    "tidy",
    "trace_spans",
    "waiting",
]
