"""When a test wants a service that is not here: it skips loudly, or fails where CI promised the service."""

import os
from typing import NoReturn

import pytest


def missing(service: str, reason: str) -> NoReturn:
    """Skip, unless EVENTFLOW_REQUIRE_SERVICES names `service`: then its absence is a failure."""
    promised = os.environ.get("EVENTFLOW_REQUIRE_SERVICES", "").split(",")
    if service in promised:
        pytest.fail(f"{service} was promised by EVENTFLOW_REQUIRE_SERVICES, but: {reason}")
    pytest.skip(f"needs {service}: {reason}")
