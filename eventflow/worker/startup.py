"""What must be in the database before Eventflow runs: the roles, the default alert rules. Harmless when repeated."""

from datetime import datetime

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from eventflow.accounts import people
from eventflow.store.record import alert_settings

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
    alert_settings.ensure_default_rules(demo=settings.EVENTFLOW_DEMO, email_url=settings.EMAIL_URL)
