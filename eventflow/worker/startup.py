"""What must be in the database before Eventflow runs: the roles, the default alert rules. Harmless when repeated."""

from datetime import datetime

from django.conf import settings

from eventflow.accounts import people
from eventflow.store.record import alert_settings


def prepare(now: datetime) -> None:
    """Create what is missing; change nothing that a person has changed."""
    people.ensure_roles()
    alert_settings.ensure_default_rules(demo=settings.EVENTFLOW_DEMO, email_url=settings.EMAIL_URL)
