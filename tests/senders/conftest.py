"""One running Eventflow for every sender."""

from collections.abc import Iterator

import pytest

from tests.running import Eventflow


@pytest.fixture(scope="module")
def eventflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eventflow]:
    with Eventflow(tmp_path_factory.mktemp("senders")) as running:
        running.token()
        yield running
