from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "eventflow.web"
    label = "web"
