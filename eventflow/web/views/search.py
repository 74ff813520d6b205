"""What the command palette finds: services, destinations, consumer groups, and a flow by its id in full."""

from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path

app_name = "search"


def palette(request: HttpRequest) -> JsonResponse:
    """`?q=`: what matches, best first; `flow` is the address of the flow whose id it is."""
    return JsonResponse({"flow": "", "items": []})


urlpatterns: list[URLPattern] = [path("", palette, name="palette")]
