"""Settings → Brokers: every source with its state, rights and cost; an admin adds, tries, edits, pauses, removes them.

Pages never talk to a broker: a try is a row that the worker runs, a change a row that it follows. Shows no secret.
"""

import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from eventflow.accounts import audit, roles
from eventflow.accounts.access import role_required
from eventflow.domain.connection import UNLOCKS
from eventflow.domain.source_setting import KINDS, Setting
from eventflow.live import news
from eventflow.nudge import nudge
from eventflow.store.queries import source_setting as queries
from eventflow.store.queries import sources
from eventflow.store.record import connection_test, source_setting
from eventflow.web import costs, source_forms

TRY = "eventflow.sources.try"
RECEIVERS = ("otlp", "zipkin")


def _panels(rows: list[sources.SourceRow]) -> list[dict[str, Any]]:
    """A panel for every broker, also for one that no worker has picked up yet. One query."""
    described = queries.settings_by_name()
    shown = {row.name: row for row in rows if row.system not in RECEIVERS}
    for name, setting in described.items():
        kind = KINDS.get(setting.scheme)
        system = kind.system if kind else setting.scheme
        shown.setdefault(name, sources.SourceRow(name, system, setting.address, "waiting"))
    return [
        {
            "source": row,
            "setting": described.get(name),
            "rights": [(right, state, UNLOCKS.get(right, "")) for right, state in row.rights.items()],
        }
        for name, row in sorted(shown.items())
    ]


def _page(
    request: HttpRequest,
    form: source_forms.Form | None = None,
    status: int = 200,
    test: queries.TestView | None = None,
) -> HttpResponse:
    rows = sources.all_sources()
    admin = roles.may(request.user, "admin")
    return render(
        request,
        "settings/brokers.html",
        {
            "nav_active": "settings",
            "panels": _panels(rows),
            "receiver": next((row for row in rows if row.system == "otlp"), None),
            "zipkin": next((row for row in rows if row.system == "zipkin"), None),
            "otlp_http": settings.EVENTFLOW_OTLP_HTTP,
            "otlp_grpc": settings.EVENTFLOW_OTLP_GRPC,
            "zipkin_http": settings.EVENTFLOW_ZIPKIN,
            "needs_token": bool(settings.EVENTFLOW_INGEST_TOKENS),
            "poll_seconds": settings.EVENTFLOW_POLL_SECONDS,
            "may_configure": admin,
            "form": form or (_wanted_form(request) if admin else None),
            "kinds": KINDS.values(),
            "removing": _removing(request) if admin else None,
            "test": test,
        },
        status=status,
    )


def _wanted_form(request: HttpRequest) -> source_forms.Form | None:
    wanted = request.GET.get("source", "")
    if wanted == "new":
        return source_forms.Form()
    view = queries.setting(wanted) if wanted else None
    return source_forms.of_setting(view) if view else None


def _removing(request: HttpRequest) -> queries.SettingView | None:
    wanted = request.GET.get("remove", "")
    return queries.setting(wanted) if wanted else None


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """All brokers and receivers; `?source=new` or `?source=<name>` opens the form, `?remove=<name>` asks first."""
    return _page(request)


@require_safe
def cost(request: HttpRequest) -> HttpResponse:
    """What we cost each broker, beside what we may cost it. One query."""
    now, budget = timezone.now(), settings.EVENTFLOW_BUDGET
    poll = settings.EVENTFLOW_POLL_SECONDS
    rows = [costs.cost(row, budget, poll, now) for row in sources.all_sources() if row.system not in RECEIVERS]
    return render(
        request,
        "settings/cost.html",
        {"nav_active": "settings", "rows": rows, "budget": budget, "busy": 100 * budget.busy, "poll_seconds": poll},
    )


def _done(request: HttpRequest, action: str, name: str, said: str, **details: Any) -> HttpResponse:
    audit.record(request.user.get_username(), action, target=name, details=details, now=timezone.now())
    transaction.on_commit(lambda: news.publish(["sources"]))
    messages.success(request, said, extra_tags="ok")
    return redirect("settings:page")


@require_POST
@role_required("admin")
@transaction.atomic
def save(request: HttpRequest) -> HttpResponse:
    """A new broker or a changed one; what cannot be saved comes back with what is wrong, without the password."""
    form = source_forms.from_post(request.POST)
    setting = source_forms.check(form)
    if setting is None:
        return _page(request, form, status=422)
    now, facts = timezone.now(), {"kind": setting.scheme, "address": setting.address}
    if not form.editing:
        if not source_setting.add(setting, request.user.get_username(), now):
            form.errors["name"] = source_forms.TAKEN
            return _page(request, form, status=422)
        return _done(request, "source.add", setting.name, f"Added {setting.name}; it connects within seconds", **facts)
    changed = source_setting.change(setting, now, keep_password=form.keeps)
    if changed is None:
        raise Http404("There is no such broker any more.")
    return _done(request, "source.change", setting.name, f"Saved {setting.name}", **facts, changed=changed)


@require_POST
@role_required("admin")
@transaction.atomic
def pause(request: HttpRequest, name: str) -> HttpResponse:
    """Stop looking at it, or go on."""
    paused = request.POST.get("paused") == "1"
    if not source_setting.pause(name, paused, timezone.now()):
        raise Http404("There is no such broker any more.")
    return _done(
        request, "source.pause" if paused else "source.resume", name, f"{'Paused' if paused else 'Resumed'} {name}"
    )


@require_POST
@role_required("admin")
@transaction.atomic
def remove(request: HttpRequest, name: str) -> HttpResponse:
    """Look at it no more and forget what it told, but for letters and flows."""
    if not source_setting.remove(name, timezone.now()):
        raise Http404("There is no such broker any more.")
    return _done(request, "source.remove", name, f"Removed {name}")


def _ask(request: HttpRequest, setting: Setting) -> queries.TestView | None:
    now, by = timezone.now(), request.user.get_username()
    with transaction.atomic():
        pk = connection_test.ask(setting, by, now)
        details = {"kind": setting.scheme, "address": setting.address} if setting.scheme else {}
        audit.record(by, "source.test", target=setting.name, details=details, now=now)
        transaction.on_commit(lambda: nudge(TRY))
    return queries.connection_test(pk)


@require_POST
@role_required("admin")
def try_form(request: HttpRequest) -> HttpResponse:
    """Try what the form says, before it is saved."""
    form = source_forms.from_post(request.POST)
    setting = source_forms.check(form)
    test = _ask(request, setting) if setting else None
    if request.headers.get("HX-Request"):
        return render(request, "settings/_test.html", {"test": test, "form": form})
    return _page(request, form, status=200 if test else 422, test=test)


@require_POST
@role_required("admin")
def try_source(request: HttpRequest, name: str) -> HttpResponse:
    """Try a source that is configured, here or in the environment."""
    if name not in sources.states() and queries.setting(name) is None:
        raise Http404("There is no such broker any more.")
    test = _ask(request, Setting(name, "", ""))
    if request.headers.get("HX-Request"):
        return render(request, "settings/_test.html", {"test": test})
    return _page(request, test=test)


@require_safe
@role_required("admin")
def test(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """How a try goes; asks for itself again until it is over."""
    found = queries.connection_test(pk)
    if found is None:
        raise Http404("This test is over for long.")
    if request.headers.get("HX-Request"):
        return render(request, "settings/_test.html", {"test": found})
    return _page(request, test=found)


app_name = "sources"
urlpatterns = [
    path("", save, name="save"),
    path("cost/", cost, name="cost"),
    path("try/", try_form, name="try_form"),
    path("tests/<uuid:pk>/", test, name="test"),
    path("<str:name>/pause/", pause, name="pause"),
    path("<str:name>/remove/", remove, name="remove"),
    path("<str:name>/try/", try_source, name="try_source"),
]
