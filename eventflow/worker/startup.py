"""What must be in the database before Eventflow runs: the roles, the default alert rules. Harmless when repeated."""

from datetime import datetime

from eventflow.accounts import people


def prepare(now: datetime) -> None:
    """Create what is missing; change nothing that a person has changed."""
    people.ensure_roles()
