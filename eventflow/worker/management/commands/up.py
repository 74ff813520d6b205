"""`manage.py up`: runs Eventflow in this process until Ctrl-C; prints a login link that works once."""

import asyncio
import errno
import fcntl
import shutil
from argparse import ArgumentParser
from collections.abc import Callable
from typing import IO, Any

from django.conf import settings
from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.utils import timezone

from collectors.base import CollectorError
from eventflow.accounts import login_links, people
from eventflow.worker import addresses, service
from eventflow.worker.startup import make_tables, prepare

MIN_FREE_BYTES = 200 * 1024 * 1024


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: twice as many requests a second."""
    try:
        import uvloop  # noqa: PLC0415  # not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


class Command(BaseCommand):
    help = "Run Eventflow: web pages, OTLP receivers, collectors and background jobs, in one process."
    requires_system_checks = ()  # run below: what they find is told in sentences, not as a listing

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--roles", default=",".join(service.ROLES), help="which parts to run (default: all of %(default)s)"
        )
        parser.add_argument("--no-link", action="store_true", help="print no login link")

    def handle(self, *args: Any, **options: Any) -> None:
        roles = [role.strip() for role in options["roles"].split(",") if role.strip()]
        if unknown := [role for role in roles if role not in service.ROLES]:
            raise CommandError(f"No role {', '.join(unknown)}; there are {', '.join(service.ROLES)}.")
        if not settings.EVENTFLOW_RECEIVER:  # the process that started it has the same settings and was checked
            self._check()
        lock = self._claim_folder(roles)
        try:
            web_socket = service.bind_web(roles)
            if not settings.EVENTFLOW_RECEIVER:
                self._be_first(roles)
            link = "" if options["no_link"] or "web" not in roles else self._login_link()
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(service.Service(roles, lambda: self._ready(roles, link)).run(web_socket))
        except (addresses.AddressError, CollectorError) as error:
            raise CommandError(str(error)) from error
        except (OSError, OperationalError) as error:
            raise CommandError(self._storage_advice(error)) from error
        finally:
            lock.close()

    @staticmethod
    def _be_first(roles: list[str]) -> None:
        """What the first process of an installation does for the others."""
        for setting in ("EVENTFLOW_OTLP_HTTP", "EVENTFLOW_OTLP_GRPC"):
            if "ingest" in roles:
                addresses.listen(setting, getattr(settings, setting)).close()
        make_tables()
        prepare(timezone.now())

    @staticmethod
    def _check() -> None:
        """What is configured wrongly, one sentence each."""
        if wrong := [found for found in run_checks() if found.is_serious()]:
            raise CommandError("\n".join(f"{found.msg} {found.hint or ''}".strip() for found in wrong))

    def _claim_folder(self, roles: list[str]) -> IO[str]:
        """One Eventflow per data folder (per set of roles): two would digest the same inbox."""
        folder = settings.EVENTFLOW_DATA
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            number = f"-{settings.EVENTFLOW_RECEIVER}" if settings.EVENTFLOW_RECEIVER else ""
            lock = (folder / f"lock-{'-'.join(sorted(roles))}{number}").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                f"Another Eventflow runs on the folder {folder}. Stop it, or choose another folder with EVENTFLOW_DATA."
            ) from error
        except OSError as error:
            raise CommandError(self._storage_advice(error)) from error
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES:
            raise CommandError(
                f"Only {free // 1_000_000} MB are free where {folder} lies; Eventflow needs "
                f"{MIN_FREE_BYTES // 1_000_000} MB. Free some space, or choose another folder with EVENTFLOW_DATA."
            )
        return lock

    @staticmethod
    def _login_link() -> str:
        now = timezone.now()
        path = login_links.create(people.administrator(now), now)
        connection.close()
        return path

    def _storage_advice(self, error: Exception) -> str:
        full = getattr(error, "errno", None) == errno.ENOSPC or "disk is full" in str(error)
        if full:
            return f"The disk that holds {settings.EVENTFLOW_DATA} is full. Free some space and start again."
        return f"Cannot use {settings.EVENTFLOW_DATA} or the database: {error}. Check EVENTFLOW_DATA and DATABASE_URL."

    def _ready(self, roles: list[str], link: str) -> None:
        if settings.EVENTFLOW_RECEIVER:
            return
        if "web" not in roles:
            self.stdout.write(f"Eventflow runs: {', '.join(roles)}. Ctrl-C stops it.")
            return
        self.stdout.write(f"\nEventflow runs on {settings.EVENTFLOW_URL}")
        if link:
            self.stdout.write(f"Log in once with  {settings.EVENTFLOW_URL}{link}")
        if "ingest" in roles:
            self.stdout.write(
                f"OpenTelemetry goes to  http://{settings.EVENTFLOW_OTLP_HTTP}  (HTTP)"
                f"  or  {settings.EVENTFLOW_OTLP_GRPC}  (gRPC)"
            )
        self.stdout.write("Ctrl-C stops it.\n")
        self.stdout.flush()
