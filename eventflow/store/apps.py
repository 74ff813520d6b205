from django.apps import AppConfig


class StoreConfig(AppConfig):
    name = "eventflow.store"
    label = "store"
