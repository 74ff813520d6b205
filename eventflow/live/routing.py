from django.urls import path

from eventflow.live.sockets import LiveSocket

urlpatterns = [path("live", LiveSocket.as_asgi())]  # type: ignore[arg-type]  # Channels routes ASGI apps by Django paths
