"""Alerts: what fires, what fired, rules, channels, silences.

A viewer looks, an operator acknowledges and silences, an admin configures.
"""

from datetime import datetime, timedelta
from glob import escape
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from eventflow.accounts import audit, roles
from eventflow.accounts.access import role_required
from eventflow.celery import app as celery
from eventflow.domain.alert import Kind
from eventflow.domain.alert_backtest import Fired
from eventflow.live import news
from eventflow.store.queries import alert_history, alerts
from eventflow.store.record import alert_settings
from eventflow.store.record.alert_settings import RuleForm, as_domain_rule
from eventflow.store.record.notification import signing_secret
from eventflow.web import alert_forms, ranges

app_name = "alerts"
TRIED_SHOWN = 20
SILENCES = ((1800, "30 min"), (7200, "2 h"), (28_800, "8 h"))


def _page(
    request: HttpRequest,
    form: alert_forms.Form | None = None,
    status: int = 200,
    tried: dict[str, Any] | None = None,
) -> HttpResponse:
    now = timezone.now()
    seen = alerts.overview(now)
    admin = roles.may(request.user, "admin")
    if form is None and admin:
        form = _wanted_form(request)
    return render(
        request,
        "alerts/page.html",
        {
            "now": now,
            "seen": seen,
            "rules_on": sum(rule.enabled for rule in seen.rules),
            "form": form if admin else None,
            "try": tried,
            "may_configure": admin,
            "may_act": admin or roles.may(request.user, "operator"),
            "subjects": alerts.subjects() if form and admin else [],
            "kinds": alert_forms.KINDS,
            "silence_choices": SILENCES,
            "secrets": {row.pk: signing_secret(row.pk) for row in seen.channels if row.kind == "webhook"}
            if admin
            else {},
        },
        status=status,
    )


def _wanted_form(request: HttpRequest) -> alert_forms.Form | None:
    wanted = request.GET.get("rule", "")
    if wanted == "new":
        kind = request.GET.get("kind", Kind.LAG)
        return alert_forms.blank(kind if kind in alert_forms.KINDS else Kind.LAG, request.GET.get("pattern", "*"))
    if wanted.isdecimal() and len(wanted) < 18 and (rule := alerts.rule(int(wanted))):
        return alert_forms.of_rule(rule)
    return None


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Everything about alerts; `?rule=new` or `?rule=<key>` opens the form."""
    return _page(request)


@require_safe
def bell(request: HttpRequest) -> HttpResponse:
    """The bell of the top bar, for live updates."""
    return render(request, "alerts/_bell.html")


def _done(request: HttpRequest, action: str, target: str, said: str, **details: Any) -> HttpResponse:
    """Into the audit trail, out to all pages, back to this one."""
    reason = request.POST.get("reason", "")[:300]
    audit.record(request.user.get_username(), action, target=target, reason=reason, details=details, now=timezone.now())
    transaction.on_commit(lambda: news.publish(["alerts", "lag"]))
    messages.success(request, said, extra_tags="ok")
    return redirect("alerts:page")


def _found(name: str | None, what: str) -> str:
    if name is None:
        raise Http404(f"There is no such {what} any more.")
    return name


@require_POST
@role_required("operator")
@transaction.atomic
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """I look after it."""
    title = _found(alert_settings.acknowledge(pk, request.user.get_username(), timezone.now()), "open incident")
    return _done(request, "alert.acknowledge", title, "Acknowledged")


@require_POST
@role_required("operator")
@transaction.atomic
def silence(request: HttpRequest) -> HttpResponse:
    """No notifications for an incident's subject, or for a pattern, for a while."""
    incident, seconds = request.POST.get("incident", ""), alert_forms.number(request.POST.get("seconds", ""))
    pattern = request.POST.get("pattern", "").strip()[:300]
    if incident.isdecimal() and len(incident) < 18:
        pattern = escape(_found(alert_settings.incident_subject(int(incident)), "incident"))
    if not pattern or seconds is None or not 60 <= seconds <= 31 * 86_400:
        messages.error(request, "Not silenced: say what, and for how long.", extra_tags="warn")
        return redirect("alerts:page")
    by = request.user.get_username()
    alert_settings.silence(pattern, request.POST.get("reason", "")[:300], by, seconds, timezone.now())
    return _done(request, "alert.silence", pattern, "Silenced", seconds=seconds)


@require_POST
@role_required("operator")
@transaction.atomic
def end_silence(request: HttpRequest, pk: int) -> HttpResponse:
    """Notifications again."""
    pattern = _found(alert_settings.end_silence(pk, timezone.now()), "silence")
    return _done(request, "alert.unsilence", pattern, "Silence ended")


@require_POST
@role_required("admin")
@transaction.atomic
def save_rule(request: HttpRequest) -> HttpResponse:
    """A new rule or a changed one; what cannot be saved comes back with what is wrong."""
    form = alert_forms.from_post(request.POST)
    rule, errors = alert_forms.check(form)
    if rule is None:
        form.errors = errors
        return _page(request, form, status=422)
    if form.pk is not None and alerts.rule(form.pk) is None:
        raise Http404("There is no such rule any more.")
    alert_settings.save_rule(form.pk, rule, request.user.get_username())
    action = "alert.rule.create" if form.pk is None else "alert.rule.change"
    return _done(request, action, rule.name, f"Saved “{rule.name}”", kind=rule.kind, pattern=rule.pattern)


def _tried(rule: RuleForm, pk: int | None) -> dict[str, Any]:
    """What the rule would have done, for its form: each alert beside a link to its group at that time."""
    tried = alert_history.backtest(as_domain_rule(rule, pk), timezone.now())
    span = (tried.end - tried.start).total_seconds()
    shown = [
        {
            "fired": one,
            "lasted": one.lasted(tried.end),
            "url": _at(one, tried.end),
            "left": 100 * (one.fired_at - tried.start).total_seconds() / span,
            "width": 100 * one.lasted(tried.end) / span,
        }
        for one in tried.fired
    ]
    return {"tried": tried, "all": shown, "shown": shown[: -TRIED_SHOWN - 1 : -1]}


def _at(fired: Fired, now: datetime) -> str:
    """The group's page around the time it would have fired."""
    if fired.key is None:
        return ""
    until = min(now, fired.fired_at + timedelta(seconds=min(fired.lasted(now) + 600, 3000)))
    return f"{reverse('lag:group', args=[fired.key])}?{urlencode({'range': '1h', 'at': until.strftime(ranges.AT)})}"


@require_POST
@role_required("admin")
def try_rule(request: HttpRequest) -> HttpResponse:
    """The form's rule against the last seven days; saves nothing."""
    form = alert_forms.from_post(request.POST)
    form.name = form.name or "new"
    rule, form.errors = alert_forms.check(form)
    result = _tried(rule, form.pk) if rule else None
    if request.headers.get("HX-Request"):
        return render(request, "alerts/_tried.html", {"try": result, "form": form})
    return _page(request, form, status=200 if rule else 422, tried=result)


@require_POST
@role_required("admin")
@transaction.atomic
def switch_rule(request: HttpRequest, pk: int) -> HttpResponse:
    """On or off."""
    enabled = request.POST.get("enabled") == "1"
    name = _found(alert_settings.switch_rule(pk, enabled), "rule")
    return _done(request, "alert.rule.switch", name, f"“{name}” is {'on' if enabled else 'off'}", enabled=enabled)


@require_POST
@role_required("admin")
@transaction.atomic
def delete_rule(request: HttpRequest, pk: int) -> HttpResponse:
    """With its incidents."""
    name = _found(alert_settings.delete_rule(pk), "rule")
    return _done(request, "alert.rule.delete", name, f"Deleted “{name}”")


@require_POST
@role_required("admin")
@transaction.atomic
def add_channel(request: HttpRequest) -> HttpResponse:
    """A new channel. Its address is written here and never shown again."""
    problem, channel = alert_forms.channel(request.POST)
    if channel is None:
        messages.error(request, f"Not added: {problem}", extra_tags="warn")
        return redirect("alerts:page")
    alert_settings.save_channel(*channel)
    return _done(request, "alert.channel.add", channel[0], f"Added “{channel[0]}”", kind=channel[1])


@require_POST
@role_required("admin")
@transaction.atomic
def delete_channel(request: HttpRequest, pk: int) -> HttpResponse:
    name = _found(alert_settings.delete_channel(pk), "channel")
    return _done(request, "alert.channel.delete", name, f"Deleted “{name}”")


@require_POST
@role_required("admin")
@transaction.atomic
def test_channel(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks the worker to send a test, for pages never talk to the outside; the channel's line tells the result."""
    names = {row.pk: row.name for row in alerts.overview(timezone.now()).channels}
    name = _found(names.get(pk), "channel")
    transaction.on_commit(lambda: celery.send_task("eventflow.notify.test", args=[pk]))
    return _done(request, "alert.channel.test", name, f"A test is on its way to “{name}”")


urlpatterns = [
    path("", page, name="page"),
    path("bell/", bell, name="bell"),
    path("incidents/<int:pk>/acknowledge/", acknowledge, name="acknowledge"),
    path("silences/", silence, name="silence"),
    path("silences/<int:pk>/end/", end_silence, name="end_silence"),
    path("rules/", save_rule, name="save_rule"),
    path("rules/try/", try_rule, name="try_rule"),
    path("rules/<int:pk>/switch/", switch_rule, name="switch_rule"),
    path("rules/<int:pk>/delete/", delete_rule, name="delete_rule"),
    path("channels/", add_channel, name="add_channel"),
    path("channels/<int:pk>/delete/", delete_channel, name="delete_channel"),
    path("channels/<int:pk>/test/", test_channel, name="test_channel"),
]
