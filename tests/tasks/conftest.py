"""One Prefect server for all tests of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_ENABLED,
    get_current_settings,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness

from tests.api_proxy import ENDS, ApiProxy, api_proxy


@pytest.fixture(scope="package")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=150):
        yield


@pytest.fixture
def losing_ends(prefect: None) -> Iterator[ApiProxy]:
    """Lose the first answer of the Prefect API to the end of each flow run: it is told again."""
    url = get_current_settings().api.url
    assert url
    # Log lines would be kept for the proxy, and waited for when it is gone.
    settings: Any = {PREFECT_LOGGING_TO_API_ENABLED: False}
    with api_proxy(url) as proxy, temporary_settings(settings | {PREFECT_API_URL: proxy.url}):
        proxy.losing = ENDS
        yield proxy
