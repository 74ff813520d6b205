"""The first page: the key figures, the topology in small, what failed, what lags, what happened."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path

app_name = "overview"
PAGES = {"overview", "topology", "flows", "lag", "dead_letters", "replays", "alerts", "settings", "accounts", "search"}


def page(request: HttpRequest) -> HttpResponse:
    return render(request, "overview/page.html", {})


def rail(request: HttpRequest) -> HttpResponse:
    """The rail alone, for live updates; `?page=` is the page it stands on."""
    at = request.GET.get("page", "")
    return render(request, "_rail.html", {"nav_active": at if at in PAGES else ""})


urlpatterns: list[URLPattern] = [path("", page, name="page"), path("rail/", rail, name="rail")]
