"""`manage.py login_link [NAME]`: prints a single-use login link for a user (default: the administrator)."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from eventflow.accounts import login_links, people


class Command(BaseCommand):
    help = "Print a link that logs a user in once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        if options["name"]:
            user = get_user_model().objects.filter(username=options["name"], is_active=True).first()
            if user is None:
                raise CommandError(f"No active user {options['name']}; `manage.py user {options['name']}` makes one.")
        else:
            user = people.administrator(now)
        self.stdout.write(f"{settings.EVENTFLOW_URL}{login_links.create(user, now)}")
