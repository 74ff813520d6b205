"""Uploading traces: kept for the worker, read by it, told on the page; admins only, never too large."""

import orjson
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from eventflow.accounts import people, roles
from eventflow.accounts.models import AuditEntry
from eventflow.store import spans
from eventflow.store.models import ImportJob
from eventflow.web.views import settings as views
from eventflow.worker.tasks import imports
from tests.collectors.zipkin.samples import kafka_hop

pytestmark = pytest.mark.django_db
PATH = "/settings/import/"


def logged_in(role: str) -> Client:
    client = Client()
    client.force_login(people.set_role(f"a-{role}", role, timezone.now())[0])
    return client


def upload(client: Client, content: bytes, name: str = "trace.json"):
    return client.post(PATH, {"file": SimpleUploadedFile(name, content)})


def test_an_uploaded_file_is_read_by_the_worker_and_told_on_the_page() -> None:
    client = logged_in(roles.ADMIN)
    assert upload(client, orjson.dumps(kafka_hop()), "<b>.json").url == PATH
    assert "Waiting" in client.get(PATH).content.decode()
    imports.run()
    page = client.get(PATH).content.decode()
    assert "Imported" in page
    assert "3 spans" in page
    assert "<b>.json" not in page
    assert spans.inbox_depth() == 1
    assert bytes(ImportJob.objects.get().body) == b""
    assert AuditEntry.objects.get(action="traces.import").target == "<b>.json"
    imports.run()
    assert spans.inbox_depth() == 1


def test_what_is_no_trace_file_says_why_and_does_not_stop_the_next() -> None:
    client = logged_in(roles.ADMIN)
    upload(client, b"hello")
    upload(client, orjson.dumps(kafka_hop()))
    imports.run()
    assert list(ImportJob.objects.order_by("pk").values_list("state", flat=True)) == ["failed", "done"]
    assert "this is no JSON" in client.get(PATH).content.decode()


def test_a_file_that_is_empty_or_too_large_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    client = logged_in(roles.ADMIN)
    assert upload(client, b"").status_code == 400
    monkeypatch.setattr(views, "LARGEST_IMPORT", 3)
    assert upload(client, b"hello").status_code == 413
    assert ImportJob.objects.count() == 0


def test_only_admins_import() -> None:
    assert upload(logged_in(roles.OPERATOR), b"[]").status_code == 403
    assert ImportJob.objects.count() == 0
    assert PATH not in logged_in(roles.OPERATOR).get("/settings/").content.decode()
