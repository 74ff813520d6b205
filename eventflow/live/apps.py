from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "eventflow.live"
    label = "live"
