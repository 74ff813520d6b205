"""Dead letters: groups by cause, the letters of one group, one letter whole; archive, and the way into a replay."""

from dataclasses import replace
from urllib.parse import urlencode

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from eventflow.accounts import audit, roles
from eventflow.accounts.access import role_required
from eventflow.domain import redaction
from eventflow.live import news
from eventflow.store.models import DeadLetter
from eventflow.store.queries import dead_letters as letters
from eventflow.store.queries import letter_places
from eventflow.store.record import dead_letter as record
from eventflow.web import letter_detail, replay_dialog

app_name = "dead_letters"
MAX_AT_ONCE = replay_dialog.MAX_AT_ONCE
KEPT = ("view", "q", "group", "letter", "sort", "destination", "consumer_group", "correlation_id", "source")


def wanted(request: HttpRequest) -> letters.Filter:
    """The filter that the address holds."""
    get = request.GET
    group = get.get("group", "")
    return letters.Filter(
        view=get.get("view", "waiting") if get.get("view") in letters.VIEWS else "waiting",
        text=get.get("q", "").strip()[:200],
        group=int(group) if group.isdecimal() and len(group) < 18 else None,
        destination=get.get("destination", "")[:300],
        consumer_group=get.get("consumer_group", "")[:300],
        correlation_id=get.get("correlation_id", "")[:300],
        source=get.get("source", "")[:100],
        newest_first=get.get("sort") == "newest",
    )


def address(request: HttpRequest, **changes: object) -> str:
    """This page's address with some parameters changed; None takes one away."""
    kept = {name: value for name, value in request.GET.items() if name in KEPT}
    for name, value in changes.items():
        kept.pop(name, None)
        if value not in (None, ""):
            kept[name] = str(value)
    return f"{reverse('dead_letters:page')}?{urlencode(kept)}"


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """The whole page; live updates pick their regions out of it."""
    now = timezone.now()
    asked = wanted(request)
    causes = letters.causes(replace(asked, group=None), now)
    chosen = _named(request, "letter")
    opened = chosen is not None
    # A live update keeps the letter that is being read, also when it has left the list meanwhile.
    chosen = chosen or _named(request, "keep")
    wished = asked.group or (chosen.group_id if chosen else None)
    cause = next((each for each in causes if each.group.pk == wished), None)
    stepped_in = cause is not None and bool(asked.group or opened)
    if cause is None and causes:
        cause = causes[0]
    listed = letters.Page([], 0)
    if cause:
        listed = letters.page(replace(asked, group=cause.group.pk), request.GET.get("after", ""))
    if chosen is None and listed.letters:
        chosen = letters.letter(listed.letters[0].pk)
    group = cause.group.pk if cause else None
    for each in listed.letters:
        each.href = address(request, group=group, letter=each.pk)  # type: ignore[attr-defined]  # for the template only
    context = {
        "operator": roles.may(request.user, roles.OPERATOR),
        "filter": asked,
        "causes": [(each, address(request, group=each.group.pk, letter=None)) for each in causes],
        "cause": cause,
        "cause_message": redaction.text(cause.group.sample_message) if cause else "",
        "page": listed,
        "totals": letters.totals(),
        "troubled": letter_places.troubled(now),
        "stepped_in": stepped_in,
        "opened": opened,
        "chosen": chosen.pk if chosen else None,
        "detail": letter_detail.described(chosen, now) if chosen else None,
        "all_query": urlencode(
            {
                **{name: request.GET[name] for name in KEPT if name != "letter" and request.GET.get(name)},
                "group": group or "",
            }
        ),
        "next_url": f"{address(request, group=group)}&{urlencode({'after': listed.next_cursor})}"
        if listed.next_cursor
        else "",
        "sort_url": address(request, group=group, sort=None if asked.newest_first else "newest"),
        "back_url": address(request, group=None, letter=None),
        "close_url": address(request, group=group, letter=None),
        "keep_url": f"{address(request, group=group)}&keep={chosen.pk}#det" if chosen else "#det",
        "views": [
            (name, label, address(request, view=name, group=None, letter=None))
            for name, label in (("waiting", "Waiting"), ("recovered", "Recovered"), ("archived", "Archived"))
        ],
    }
    return render(request, "dead_letters/page.html", context)


def _named(request: HttpRequest, name: str) -> DeadLetter | None:
    number = request.GET.get(name, "")
    return letters.letter(int(number)) if number.isdecimal() and len(number) < 18 else None


@require_GET
def letter(request: HttpRequest, pk: int) -> HttpResponse:
    """One letter by its own permanent address."""
    found = letters.letter(pk)
    if found is None:
        raise Http404
    context = {
        "detail": letter_detail.described(found, timezone.now()),
        "chosen": pk,
        "operator": roles.may(request.user, roles.OPERATOR),
    }
    return render(request, "dead_letters/letter.html", context)


def numbers(text: str) -> list[int]:
    """Letters out of a list like "12,15"."""
    return [int(each) for each in text.split(",") if each.isdecimal() and len(each) < 18][:MAX_AT_ONCE]


def chosen_letters(request: HttpRequest) -> tuple[list[int], int]:
    """The letters that a request is about, and how many matched: those named, else all of a group that match."""
    values = request.POST if request.method == "POST" else request.GET
    named = [pk for each in values.getlist("letter") for pk in numbers(each)]
    named += numbers(values.get("letters", ""))
    if named:
        return list(dict.fromkeys(named))[:MAX_AT_ONCE], len(set(named))
    asked = wanted(request)
    if not asked.group:
        return [], 0
    found = letters.open_pks(asked)
    return found[:MAX_AT_ONCE], len(found)


@role_required("operator")
@require_GET
def replay(request: HttpRequest) -> HttpResponse:
    """What a replay would do, before it does: where it goes, who else receives it, what is refused."""
    pks, matched = chosen_letters(request)
    if not pks:
        raise Http404
    return replay_dialog.show(request, pks, matched)


@role_required("operator")
@require_GET
def archive_dialog(request: HttpRequest) -> HttpResponse:
    """Asks for the reason."""
    pks, _ = chosen_letters(request)
    if not pks:
        raise Http404
    found = letters.letters(pks)
    open_ones = [each for each in found if each.status == "open"]
    context = {
        "letters": open_ones,
        "pks": ",".join(str(each.pk) for each in open_ones),
        "left": len(found) - len(open_ones),
    }
    template = "dead_letters/_archive.html" if request.headers.get("HX-Request") else "dead_letters/archive.html"
    return render(request, template, context)


def _moved(request: HttpRequest, count: int, topics: set[str], words: str) -> HttpResponse:
    transaction.on_commit(lambda: news.publish(topics))
    if request.headers.get("HX-Request"):
        response = HttpResponse(status=204)
        return replay_dialog.toasted(response, f"{count:,} {words}", close=True)
    return redirect("dead_letters:page")


@role_required("operator")
@require_POST
@transaction.atomic
def archive(request: HttpRequest) -> HttpResponse:
    """Put letters aside, with the reason and the name."""
    pks, now = numbers(request.POST.get("letters", "")), timezone.now()
    reason = request.POST.get("reason", "").strip()
    count, topics = record.archive(pks, reason, now)
    if count:
        audit.record(
            request.user.get_username(),
            "dead letters archived",
            target=f"{count} dead letters",
            reason=reason,
            details={"letters": pks},
            now=now,
        )
    return _moved(request, count, topics, "archived")


@role_required("operator")
@require_POST
@transaction.atomic
def restore(request: HttpRequest) -> HttpResponse:
    """Bring archived letters back to those that wait."""
    pks, now = numbers(request.POST.get("letters", "")), timezone.now()
    count, topics = record.restore(pks, now)
    if count:
        audit.record(
            request.user.get_username(),
            "dead letters restored",
            target=f"{count} dead letters",
            details={"letters": pks},
            now=now,
        )
    return _moved(request, count, topics, "restored")


urlpatterns: list[URLPattern] = [
    path("", page, name="page"),
    path("<int:pk>/", letter, name="letter"),
    path("replay/", replay, name="replay_dialog"),
    path("archive/", archive_dialog, name="archive_dialog"),
    path("archive/now/", archive, name="archive"),
    path("restore/", restore, name="restore"),
]
