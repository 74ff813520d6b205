"""`manage.py import_traces FILE…`: traces out of files, OTLP-JSON, Jaeger-UI JSON or Zipkin JSON, into the store.

Durable when it ends; a running Eventflow shows them within a second, another one at its next start. A file is taken
whole or, when it is no trace file, not at all; the others go on. Importing one again changes nothing.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from eventflow.store import spans
from eventflow.worker import trace_files
from eventflow.worker.startup import make_tables


class Command(BaseCommand):
    help = "Import traces from files: OTLP-JSON, Jaeger-UI JSON or Zipkin v2 JSON, gzipped or not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        make_tables()
        failed = [path for path in options["files"] if not self._import(path)]
        if failed:
            raise CommandError(f"{len(failed)} of {len(options['files'])} files were not imported.")

    def _import(self, path: Path) -> bool:
        try:
            found = trace_files.read(path.read_bytes(), timezone.now())
            if found.batches:
                spans.append(found.batches)
        except (trace_files.TraceFileError, spans.StoreBusy) as error:
            self.stderr.write(f"{path}: {error}")
            return False
        except OSError as error:
            self.stderr.write(f"{path}: {error.strerror or error}")
            return False
        left_out = f" ({found.message})" if found.message else ""
        self.stdout.write(f"{path}: {found.spans} spans, {found.format}{left_out}")
        return True
