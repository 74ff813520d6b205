#!/usr/bin/env python
"""Eventflow's command line: `manage.py up` runs it, `manage.py help` lists the rest."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventflow.settings")
    if sys.version_info < (3, 11):  # noqa: UP036  # somebody may call it with an older one
        sys.exit("Eventflow needs Python 3.11 or later; this is " + sys.version.split()[0] + ".")
    try:
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415  # after the checks above
        from django.core.management import execute_from_command_line  # noqa: PLC0415
    except ImportError:
        sys.exit("Eventflow's packages are not installed for this Python. Run `make setup`, then use .venv/bin/python.")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Eventflow is not configured right: {error}")
    except OSError as error:
        # The settings read and make files in the data folder; each command tells its own troubles itself.
        if error.filename is None:
            raise
        sys.exit(f"Cannot use {error.filename}: {error.strerror}. Choose another folder with EVENTFLOW_DATA.")


if __name__ == "__main__":
    main()
