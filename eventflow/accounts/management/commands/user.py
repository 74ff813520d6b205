"""`manage.py user NAME --role operator [--password]`: makes an account or changes its role; prints a login link."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from eventflow.accounts import login_links, people, roles


class Command(BaseCommand):
    help = "Make an account or change its role, and print a single-use login link for it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--role", choices=list(roles.RANK), default=roles.VIEWER)
        parser.add_argument("--password", action="store_true", help="ask for a password to set")

    def handle(self, *args: Any, **options: Any) -> None:
        password = getpass.getpass() if options["password"] else None
        if password is not None:
            try:
                validate_password(password)
            except ValidationError as error:
                raise CommandError(" ".join(error.messages)) from error
        now = timezone.now()
        user, created = people.set_role(options["name"], options["role"], now, password=password)
        self.stdout.write(f"{'Made' if created else 'Changed'} {user.get_username()}, {options['role']}.")
        self.stdout.write(f"Log in once with {settings.EVENTFLOW_URL}{login_links.create(user, now)}")
