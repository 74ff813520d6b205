from django.apps import AppConfig


class WorkerConfig(AppConfig):
    name = "eventflow.worker"
    label = "worker"
