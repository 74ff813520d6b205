"""The way in: durable when awaited, one transaction for many, refused rather than lost."""

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection

from eventflow.domain.observations import SpanBatch
from eventflow.store import spans as store
from eventflow.store.models import Chunk, Inbox
from eventflow.store.spans import inbox
from tests.flow_factory import failed_order
from tests.store.conftest import finish
from tests.store.support import NOW, batch


async def stored() -> int:
    """How many requests lie in the inbox; leaves no connection behind."""

    def count() -> int:
        try:
            return store.inbox_depth()
        finally:
            connection.close()

    return await asyncio.to_thread(count)


@pytest.mark.django_db(transaction=True)
async def test_requests_at_the_same_time_are_all_there_when_awaited():
    commit = store.GroupCommit()
    try:
        await asyncio.gather(*(commit.submit([batch(failed_order())]) for _ in range(50)))
        assert await stored() == 50
    finally:
        await asyncio.to_thread(commit.close)


@pytest.mark.django_db(transaction=True)
async def test_requests_that_wait_together_share_a_transaction():
    entered, go_on, commits = threading.Event(), threading.Event(), []

    def on_commit() -> None:
        commits.append(Inbox.objects.count())
        entered.set()
        go_on.wait(10)

    commit = store.GroupCommit(on_commit)
    try:
        await commit.submit([batch(failed_order())])
        await asyncio.to_thread(entered.wait, 10)
        waiting = [asyncio.ensure_future(commit.submit([batch(failed_order())])) for _ in range(20)]
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*waiting)
    finally:
        await asyncio.to_thread(commit.close)
    assert commits == [1, 21]


@pytest.mark.django_db(transaction=True)
async def test_a_commit_waits_a_moment_for_as_many_requests_as_came_together_last_time():
    entered, go_on, napping, woken, commits = *(threading.Event() for _ in range(4)), []

    def on_commit() -> None:
        commits.append(Inbox.objects.count())
        entered.set()
        go_on.wait(10)

    def nap() -> None:
        napping.set()
        woken.wait(10)

    def submitted(number: int) -> list[asyncio.Future[None]]:
        return [asyncio.ensure_future(commit.submit([batch(failed_order())])) for _ in range(number)]

    commit = store.GroupCommit(on_commit, nap)
    try:
        await commit.submit([batch(failed_order())])
        await asyncio.to_thread(entered.wait, 10)
        waiting = submitted(20)
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*waiting)
        assert not napping.is_set(), "more came than last time"
        (first,) = submitted(1)
        assert await asyncio.to_thread(napping.wait, 10)
        waiting = submitted(2)
        await asyncio.sleep(0)
        woken.set()
        await asyncio.gather(first, *waiting)
    finally:
        await asyncio.to_thread(commit.close)
    assert commits == [1, 21, 24]


@pytest.mark.django_db(transaction=True)
async def test_more_than_may_wait_is_refused_at_once_and_what_was_taken_is_kept():
    entered, go_on = threading.Event(), threading.Event()

    def on_commit() -> None:
        entered.set()
        go_on.wait(10)

    commit = store.GroupCommit(on_commit)
    try:
        await commit.submit([batch([])])
        await asyncio.to_thread(entered.wait, 10)
        waiting = [asyncio.ensure_future(commit.submit([batch([])])) for _ in range(inbox.PENDING_REQUESTS + 3)]
        await asyncio.sleep(0.05)
        refused = [future for future in waiting if future.done()]
        assert len(refused) == 3
        go_on.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        await asyncio.to_thread(commit.close)
    assert sum(isinstance(answer, store.StoreBusy) for answer in answers) == 3
    assert await stored() == 1 + inbox.PENDING_REQUESTS


@pytest.mark.django_db(transaction=True)
async def test_a_closed_store_refuses():
    commit = store.GroupCommit()
    await asyncio.to_thread(commit.close)
    with pytest.raises(store.StoreBusy):
        await commit.submit([batch([])])


@contextmanager
def a_table_that_cannot_be_written() -> Iterator[None]:
    """The nearest to a full disk that both databases know: every insert fails in the database itself."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE store_inbox RENAME TO store_inbox_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE store_inbox_away RENAME TO store_inbox")


@pytest.mark.django_db(transaction=True)
def test_what_the_database_refuses_is_refused_and_works_again_afterwards():
    with a_table_that_cannot_be_written(), pytest.raises(store.StoreBusy):
        store.append([batch(failed_order())])
    store.append([batch(failed_order())])
    assert store.inbox_depth() == 1


sqlite = pytest.mark.skipif("sqlite3" not in settings.DATABASES["default"]["ENGINE"], reason="SQLite's own limits")


@sqlite
@pytest.mark.django_db(transaction=True)
def test_a_full_disk_is_refused_and_works_again_when_there_is_room():
    noise = SpanBatch(random.Random(1).randbytes(300_000), NOW)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")  # what other tests left would be room
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
        cursor.execute(f"PRAGMA max_page_count={pages + 5}")
        with pytest.raises(store.StoreBusy, match="full"):
            store.append([noise])
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count=1000000")
    store.append([noise])
    assert store.inbox_depth() == 1


@sqlite
def test_a_locked_database_is_refused_in_time_and_works_again_afterwards(process):
    assert finish(process, "locked") == "refused in time, then taken\n"


@pytest.mark.parametrize("table", [Inbox, Chunk])
def test_a_body_lies_behind_what_is_asked_of_its_row(table):
    assert table._meta.fields[-1].name == "body", "SQLite reads through it to get at what lies behind"


@sqlite
@pytest.mark.django_db
def test_what_is_deleted_is_not_written_once_more_with_zeros() -> None:
    with connection.cursor() as cursor:
        (mode,) = cursor.execute("PRAGMA secure_delete").fetchone()
    assert mode != 1


@pytest.mark.django_db
def test_what_waits_is_told_to_be_more_than_a_number() -> None:
    store.append([batch(failed_order()) for _ in range(3)])
    assert [store.more_wait_than(number) for number in (0, 2, 3, 4)] == [True, True, False, False]


@pytest.mark.django_db(transaction=True)
def test_only_the_commits_of_who_digests_need_not_wait_for_the_disk() -> None:
    asked, safe, quick = (
        ("PRAGMA synchronous", 2, 1) if connection.vendor == "sqlite" else ("SHOW synchronous_commit", "on", "off")
    )

    def how(*, digests: bool) -> object:
        try:
            if digests:
                store.commit_without_disk()
            with connection.cursor() as cursor:
                cursor.execute(asked)
                return cursor.fetchone()[0]
        finally:
            connection.close()

    def in_a_thread(*, digests: bool) -> object:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(how, digests=digests).result()

    assert [in_a_thread(digests=digests) for digests in (False, True, False)] == [safe, quick, safe]
