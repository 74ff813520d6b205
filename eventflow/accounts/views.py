"""Logging in: by password, slowed down after wrong ones, or by a single-use link."""

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from eventflow.accounts import audit, login_links

TRIES = 5
PAUSE_SECONDS = 15 * 60


def _key(request: HttpRequest) -> str:
    name = request.POST.get("username", "")[:150].lower()
    return f"login:{request.META.get('REMOTE_ADDR', '')}:{hash(name)}"


class Login(LoginView):
    """Name and password; after five wrong tries the same name from the same address waits 15 minutes."""

    template_name = "accounts/login.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if cache.get(_key(request), 0) >= TRIES:
            return render(request, self.template_name, {"form": self.get_form(), "paused": True}, status=429)
        response = super().post(request, *args, **kwargs)
        if response.status_code == 302:
            cache.delete(_key(request))
            audit.record(request.POST.get("username", ""), "login", now=timezone.now())
        else:
            cache.add(_key(request), 0, PAUSE_SECONDS)
            cache.incr(_key(request))
        return response


@login_not_required
@require_safe
def link(request: HttpRequest, token: str) -> HttpResponse:
    """Redeem a link; the second time it only leads to the login page."""
    user = login_links.redeem(token, timezone.now())
    if user is None:
        messages.error(
            request, "This login link was used already or is too old. `manage.py login_link` prints a new one."
        )
        return redirect("accounts:login")
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    audit.record(user.get_username(), "login", reason="login link", now=timezone.now())
    return redirect("overview:page")
