"""Replays: what was sent again, by whom, why, and what was seen of each message since."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from eventflow.accounts import audit, roles
from eventflow.accounts.access import role_required
from eventflow.domain import replay as ledger
from eventflow.live import news
from eventflow.nudge import nudge
from eventflow.store.queries import replays
from eventflow.store.record import replay as record
from eventflow.web import replay_dialog
from eventflow.web.views.dead_letters import numbers

app_name = "replays"
SEND = "eventflow.replay.send"
STATES = ("queued", "sending", "sent", "consumed", "confirmed", "failed_again", "unknown", "refused", "cancelled")


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Running ones on top, then the history."""
    text = request.GET.get("q", "").strip()[:200]
    found, total = replays.history(text, _moment(request.GET.get("before", "")))
    more = found[-1].replay.created_at.isoformat() if found and len(found) == 50 else ""
    context = {
        "operator": roles.may(request.user, roles.OPERATOR),
        "running": [each for each in found if each.is_live],
        "history": found,
        "total": total,
        "q": text,
        "more": more,
    }
    return render(request, "replays/page.html", context)


@require_GET
def replay(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One replay with its messages."""
    summary = replays.summary(pk)
    if summary is None:
        raise Http404
    state = request.GET.get("state", "") if request.GET.get("state") in STATES else ""
    after = request.GET.get("after", "")
    items = replays.items(pk, int(after) if after.isdecimal() and len(after) < 18 else 0, state=state)
    context = {
        "operator": roles.may(request.user, roles.OPERATOR),
        "summary": summary,
        "items": items,
        "state": state,
        "more": items[-1].pk if len(items) == 200 else None,
    }
    return render(request, "replays/replay.html", context)


@require_GET
def progress(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The live part alone, for the dialog that stays open while it runs."""
    summary = replays.summary(pk)
    if summary is None:
        raise Http404
    return render(request, "replays/_progress.html", _live(request, summary))


def _live(request: HttpRequest, summary: replays.Summary) -> dict[str, object]:
    items = replays.items(summary.replay.pk, limit=60)
    return {"operator": roles.may(request.user, roles.OPERATOR), "summary": summary, "items": items}


@role_required("operator")
@require_POST
def create(request: HttpRequest) -> HttpResponse:
    """Write the rows and wake the sender. Nothing is sent here."""
    pks = numbers(request.POST.get("letters", ""))
    reason = request.POST.get("reason", "").strip()
    rate = request.POST.get("rate", "")
    per_second = float(rate) if rate.isdecimal() and len(rate) < 5 else float(replay_dialog.DEFAULT_RATE)
    if not pks:
        raise Http404
    if len(pks) > ledger.TYPE_THE_NUMBER_OVER and request.POST.get("confirm", "").strip() != str(len(pks)):
        error = f"Type {len(pks)} to confirm that so many messages are sent."
        return replay_dialog.show(request, pks, len(pks), error=error, given={"reason": reason, "rate": rate})
    now, name = timezone.now(), request.user.get_username()
    with transaction.atomic():
        made, plan = record.create(
            pks, user=request.user, name=name, reason=reason, rate_per_second=per_second, now=now
        )
        if made is not None:
            details = {"letters": list(plan.accepted), "refused": len(plan.refusals), "rate_per_second": per_second}
            target = ", ".join(sorted({each.destination for each in plan.targets}))
            audit.record(
                name,
                "replay started",
                target=f"{len(plan.accepted)} to {target}",
                reason=reason,
                details={**details, "replay": str(made.pk)},
                now=now,
            )
    if made is None:
        error = "None of these can be replayed any more: they are on their way already, archived or recovered."
        return replay_dialog.show(request, pks, len(pks), error=error)
    first = plan.accepted[: record.AT_ONCE]
    topics = {"replays", "dead-letters", *(f"dead-letter:{pk}" for pk in first)}
    news.publish(topics | {f"flow:{key}" for key in record.flow_keys(first)})
    nudge(SEND)
    if not request.headers.get("HX-Request"):
        return redirect("replays:replay", pk=made.pk)
    summary = replays.summary(made.pk)
    assert summary is not None  # noqa: S101  # made just now
    response = render(request, "replays/_dialog.html", _live(request, summary))
    count = len(plan.accepted)
    return replay_dialog.toasted(response, f"Replaying {count:,} message{'s' if count != 1 else ''}", kind="run")


@role_required("operator")
@require_POST
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Call off what has not been sent."""
    now, name = timezone.now(), request.user.get_username()
    with transaction.atomic():
        count, topics = record.call_off(pk, state="cancelled", note=f"Cancelled by {name}", now=now)
        if topics:
            audit.record(name, "replay cancelled", target=str(pk), details={"messages": count}, now=now)
    news.publish(topics)
    return _back(request, pk, f"{count:,} message{'s' if count != 1 else ''} stay in the dead letters")


@role_required("operator")
@require_POST
def pause(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Hold what has not been sent, or let it go on."""
    paused, now = request.POST.get("paused") == "1", timezone.now()
    with transaction.atomic():
        topics = record.pause(pk, paused=paused)
        if topics:
            audit.record(
                request.user.get_username(), "replay paused" if paused else "replay resumed", target=str(pk), now=now
            )
    news.publish(topics)
    nudge(SEND)
    return _back(request, pk, "Replay paused" if paused else "Replay goes on")


def _back(request: HttpRequest, pk: UUID, words: str) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return replay_dialog.toasted(HttpResponse(status=204), words)
    return redirect("replays:replay", pk=pk)


urlpatterns: list[URLPattern] = [
    path("", page, name="page"),
    path("create/", create, name="create"),
    path("<uuid:pk>/", replay, name="replay"),
    path("<uuid:pk>/progress/", progress, name="progress"),
    path("<uuid:pk>/cancel/", cancel, name="cancel"),
    path("<uuid:pk>/pause/", pause, name="pause"),
]
