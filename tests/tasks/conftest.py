"""One Prefect server for all tests of tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="package")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=150):
        yield
