"""Lets a view say which role it needs. People without it are told which role, and that an admin can give it."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from eventflow.accounts import roles

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def role_required(role: str) -> Callable[[View[P]], View[P]]:
    """`@role_required("operator")` above a view."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if roles.may(request.user, role):
                return view(request, *args, **kwargs)
            held = roles.role_of(request.user)
            return render(request, "403.html", {"needed": role, "held": held}, status=403)

        return guarded

    return decorate
