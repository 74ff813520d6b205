from django.urls import path

from eventflow.live.sockets import LiveSocket

urlpatterns = [path("live", LiveSocket.as_asgi())]
