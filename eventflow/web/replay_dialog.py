"""The confirmation before a replay: from the stored plan and the stored consumer groups, never by asking a broker."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from eventflow.domain import replay as ledger
from eventflow.store.queries import dead_letters as letters
from eventflow.store.record import replay as ledger_rows
from eventflow.web import blast

MAX_AT_ONCE = 10_000
RATES = (1, 5, 10, 20, 50, 100, 200)
DEFAULT_RATE = 10


@dataclass(frozen=True, slots=True)
class Reach:
    """One target with everybody who gets what is sent there."""

    target: ledger.Target
    groups: tuple[str, ...]
    others: tuple[str, ...]
    drawing: blast.Drawing

    @property
    def deliveries(self) -> int:
        return self.target.count * max(1, len(self.groups))


def reach(target: ledger.Target) -> Reach:
    """Who would receive it, as far as the broker told."""
    groups = ledger.receivers(target.system, target.destination, letters.subscribers(target.source))
    everybody = tuple(dict.fromkeys((*groups, target.group))) if target.group else groups
    others = tuple(name for name in groups if name != target.group)
    return Reach(target, everybody, others, blast.drawing(everybody, target.group))


def context(pks: Sequence[int], matched: int) -> dict[str, Any]:
    """Everything that the dialog says."""
    plan = ledger.plan(ledger_rows.candidates(pks))
    reasons: dict[str, int] = {}
    for refused in plan.refusals:
        reasons[refused.reason] = reasons.get(refused.reason, 0) + 1
    return {
        "plan": plan,
        "count": len(plan.accepted),
        "pks": ",".join(map(str, plan.accepted)),
        "reaches": [reach(target) for target in plan.targets],
        "reasons": sorted(reasons.items(), key=lambda pair: -pair[1]),
        "refused": len(plan.refusals),
        "left_out": max(0, matched - len(pks)),
        "rates": RATES,
        "rate": DEFAULT_RATE,
        "must_type": len(plan.accepted) > ledger.TYPE_THE_NUMBER_OVER,
        "max_lineage": ledger.MAX_LINEAGE,
    }


def show(
    request: HttpRequest, pks: Sequence[int], matched: int, *, error: str = "", given: dict[str, str] | None = None
) -> HttpResponse:
    """The dialog as a fragment for htmx, as a page without."""
    values = {**context(pks, matched), "error": error, "given": given or {}}
    if request.headers.get("HX-Request"):
        return render(request, "dead_letters/_replay.html", values)
    return render(request, "dead_letters/replay.html", values, status=422 if error else 200)


def toasted(
    response: HttpResponse, title: str, text: str = "", *, kind: str = "ok", close: bool = False
) -> HttpResponse:
    """Have the browser say it, and close the dialog that asked for it."""
    events: dict[str, Any] = {"ef:toast": {"title": title, "text": text, "kind": kind}}
    if close:
        events["ef:close"] = {}
    response["HX-Trigger"] = json.dumps(events)
    return response
