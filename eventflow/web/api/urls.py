"""The REST API: the same reads and rights as the pages, described by OpenAPI at /api/v1/openapi.json."""

from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI

from eventflow.web.api import alerts, dead_letters, flows, health, lag, problems, replays, topology
from eventflow.web.api.auth import AUTH

api = NinjaAPI(
    title="Eventflow",
    version="1",
    description=(
        "Event flows, consumer lag, dead letters and their replay. Send `Authorization: Bearer ef_…` "
        "(`manage.py token create NAME --role viewer`). Lists page by cursor; errors are RFC 9457 problem documents; "
        "null means not known, never zero."
    ),
    auth=AUTH,
    docs_url=None,
    urls_namespace="api",
)
problems.install(api)
for module in (health, topology, flows, lag, dead_letters, alerts, replays):
    api.add_router("", module.router)


def _open(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """Ninja checks who calls; the pages' login redirect must not come first."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback.login_required = False  # type: ignore[attr-defined]  # LoginRequiredMiddleware reads it
        else:
            _open(pattern.url_patterns)
    return patterns


app_name = "api"
urlpatterns = _open(list(api.urls[0]))
