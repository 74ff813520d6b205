"""What must be in the database before Eventflow runs: the roles, the default alert rules. Harmless when repeated."""

import logging
from datetime import datetime

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from eventflow.accounts import people
from eventflow.store.record import alert_settings, source_setting

log = logging.getLogger(__name__)
MIGRATING = 0x6576656E74


def make_tables() -> None:
    """Bring the database to this version. Of several processes that start together on PostgreSQL one does it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATING])
        try:
            call_command("migrate", verbosity=0, interactive=False)
        finally:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATING])


def prepare(now: datetime) -> None:
    """Create what is missing; change nothing that a person has changed."""
    people.ensure_roles()
    if lost := source_setting.reseal():
        log.error("%d stored broker passwords were sealed with another secret key; type them again", lost)
    alert_settings.ensure_default_rules(demo=settings.EVENTFLOW_DEMO, email_url=settings.EMAIL_URL)
