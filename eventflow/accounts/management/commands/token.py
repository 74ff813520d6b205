"""`manage.py token create NAME --role operator`: makes, lists and revokes bearer tokens for the API."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction
from django.utils import timezone

from eventflow.accounts import audit, roles, tokens
from eventflow.accounts.models import ApiToken


class Command(BaseCommand):
    help = "Make, list and revoke API tokens. A token is printed once and kept as a hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a token and print it, once")
        create.add_argument("name")
        create.add_argument("--role", choices=list(roles.RANK), default=roles.VIEWER)
        revoke = verbs.add_parser("revoke", help="end a token")
        revoke.add_argument("name")
        verbs.add_parser("list", help="names, roles and last use")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, options["verb"])(options)

    def create(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        try:
            with transaction.atomic():
                secret = tokens.create(options["name"], options["role"], now)
                audit.record(
                    "command line", "token.create", target=options["name"], details={"role": options["role"]}, now=now
                )
        except IntegrityError as error:
            raise CommandError(f"There is a token named {options['name']} already; choose another name.") from error
        self.stdout.write(secret)

    def revoke(self, options: dict[str, Any]) -> None:
        if not tokens.revoke(options["name"], timezone.now()):
            raise CommandError(f"No token named {options['name']} is in use; `manage.py token list` shows them.")
        audit.record("command line", "token.revoke", target=options["name"], now=timezone.now())
        self.stdout.write(f"Revoked {options['name']}.")

    def list(self, options: dict[str, Any]) -> None:
        for token in ApiToken.objects.order_by("name"):
            state = (
                "revoked"
                if token.revoked_at
                else f"last used {token.last_used_at:%Y-%m-%d %H:%M}"
                if token.last_used_at
                else "never used"
            )
            self.stdout.write(f"{token.name:30} {token.role:10} {state}")
