"""API tokens: printed once, kept as hashes, bound to a role."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from eventflow.accounts import roles, tokens
from eventflow.accounts.models import ApiToken

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> str:
    out = StringIO()
    call_command("token", "create", *arguments, stdout=out)
    return out.getvalue().strip()


def test_a_token_is_printed_once_and_kept_as_a_hash() -> None:
    secret = create("ci", "--role", "operator")
    assert secret.startswith("ef_")
    assert secret not in str(ApiToken.objects.values().get())


def test_a_token_acts_in_its_role() -> None:
    who = tokens.authenticate(create("ci", "--role", "operator"), timezone.now())
    assert who is not None
    assert roles.role_of(who) == roles.OPERATOR
    assert not roles.may(who, roles.ADMIN)


def test_a_revoked_token_opens_nothing() -> None:
    secret = create("ci")
    call_command("token", "revoke", "ci", stdout=StringIO())
    assert tokens.authenticate(secret, timezone.now()) is None


def test_a_guessed_token_opens_nothing() -> None:
    create("ci")
    assert tokens.authenticate("ef_guess", timezone.now()) is None


def test_a_name_is_given_once() -> None:
    create("ci")
    with pytest.raises(CommandError, match="choose another name"):
        create("ci")
