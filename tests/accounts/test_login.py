"""Logging in: once by a link, by password with patience, and never without CSRF."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from eventflow.accounts import login_links, people, roles
from eventflow.accounts.models import AuditEntry, LoginLink

pytestmark = pytest.mark.django_db
NOW = timezone.now()


@pytest.fixture(autouse=True)
def _forget_wrong_tries() -> None:
    cache.clear()


@pytest.fixture
def operator() -> User:
    return people.set_role("olga", roles.OPERATOR, NOW, password="correct horse battery")[0]


def test_a_login_link_logs_in_once_and_only_once(operator: User) -> None:
    path = login_links.create(operator, timezone.now())
    first, second = Client(), Client()
    assert first.get(path).url == "/"
    assert first.session["_auth_user_id"] == str(operator.pk)
    assert second.get(path).url == "/account/login/"
    assert "_auth_user_id" not in second.session


def test_a_login_link_ends_with_its_time(operator: User) -> None:
    token = login_links.create(operator, NOW).split("/")[-2]
    assert login_links.redeem(token, NOW + login_links.LIFETIME + timedelta(seconds=1)) is None


def test_a_new_link_ends_the_older_one(operator: User) -> None:
    old = login_links.create(operator, NOW).split("/")[-2]
    login_links.create(operator, NOW)
    assert login_links.redeem(old, NOW) is None


def test_only_the_hash_of_a_link_is_kept(operator: User) -> None:
    token = login_links.create(operator, NOW).split("/")[-2]
    assert token not in str(LoginLink.objects.values().get())


def test_five_wrong_passwords_pause_the_name_even_for_the_right_one(operator: User, client: Client) -> None:
    for _ in range(5):
        assert client.post("/account/login/", {"username": "olga", "password": "wrong"}).status_code == 200
    response = client.post("/account/login/", {"username": "olga", "password": "correct horse battery"})
    assert response.status_code == 429
    assert "Wait 15 minutes" in response.content.decode()


def test_logging_in_needs_the_csrf_token(operator: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/account/login/", {"username": "olga", "password": "correct horse battery"}).status_code == 403


def test_a_login_is_written_down(operator: User, client: Client) -> None:
    client.post("/account/login/", {"username": "olga", "password": "correct horse battery"})
    assert list(AuditEntry.objects.filter(action="login").values_list("actor", flat=True)) == ["olga"]


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (roles.VIEWER, {roles.VIEWER}),
        (roles.OPERATOR, {roles.VIEWER, roles.OPERATOR}),
        (roles.ADMIN, {roles.VIEWER, roles.OPERATOR, roles.ADMIN}),
    ],
)
def test_a_role_holds_the_ones_before_it(role: str, may: set[str]) -> None:
    user, _ = people.set_role("somebody", role, NOW)
    assert {wanted for wanted in roles.RANK if roles.may(user, wanted)} == may


def test_an_account_without_a_role_may_only_look() -> None:
    assert roles.role_of(User.objects.create_user("new")) == roles.VIEWER


def test_an_inactive_account_may_nothing() -> None:
    assert roles.role_of(User.objects.create_user("gone", is_active=False, is_superuser=True)) is None


def test_lowering_a_role_takes_the_higher_one_away() -> None:
    people.set_role("somebody", roles.ADMIN, NOW)
    user, _ = people.set_role("somebody", roles.VIEWER, NOW)
    assert roles.role_of(User.objects.get(pk=user.pk)) == roles.VIEWER
