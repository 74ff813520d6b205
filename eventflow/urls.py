"""Every address. A noun's pages live in `eventflow/web/views/<noun>.py`, which carries its own urlpatterns."""

from django.urls import include, path

urlpatterns = [
    path("", include("eventflow.web.views.overview")),
    path("topology/", include("eventflow.web.views.topology")),
    path("flows/", include("eventflow.web.views.flows")),
    path("lag/", include("eventflow.web.views.lag")),
    path("dead-letters/", include("eventflow.web.views.dead_letters")),
    path("replays/", include("eventflow.web.views.replays")),
    path("alerts/", include("eventflow.web.views.alerts")),
    path("settings/", include("eventflow.web.views.settings")),
    path("settings/sources/", include("eventflow.web.views.sources")),
    path("search/", include("eventflow.web.views.search")),
    path("api/v1/", include("eventflow.web.api.urls")),
    path("account/", include("eventflow.accounts.urls")),
]
