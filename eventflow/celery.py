"""The Celery application: replay, alert evaluation, notification, retention. Tasks live in eventflow/worker/tasks.

By default worker and beat run inside `manage.py up` over an in-memory broker; with REDIS_URL the same tasks run in
`celery -A eventflow worker --beat`. A row in the database is always the truth; a task is only the nudge to look at it.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventflow.settings")

app = Celery("eventflow")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.imports = ("eventflow.worker.tasks",)
