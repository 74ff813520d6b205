from django.apps import AppConfig


class WorkerConfig(AppConfig):
    name = "eventflow.worker"
    label = "worker"

    def ready(self) -> None:
        from eventflow.worker import checks  # noqa: F401, PLC0415  # registers them
