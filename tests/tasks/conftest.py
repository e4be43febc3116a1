"""One Prefect server for all tests of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from tests.api_proxy import ENDS, ApiProxy, api_proxy
from tests.prefect_server import Databases, prefect_harness


@pytest.fixture(scope="package")
def beyond_prefect() -> Iterator[ExitStack]:
    """What ends after the Prefect server."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="package")
def prefect(beyond_prefect: ExitStack, prefect_databases: Databases) -> Iterator[None]:
    with prefect_harness(prefect_databases.empty):
        yield


@pytest.fixture
def losing_ends(prefect: None, beyond_prefect: ExitStack) -> Iterator[ApiProxy]:
    """Lose the first answer of the Prefect API to the end of each flow run: it is told again."""
    url = get_current_settings().api.url
    assert url
    # Log lines and events that were to be sent through it are waited for when the server ends.
    proxy = beyond_prefect.enter_context(api_proxy(url))
    proxy.losing = ENDS
    with temporary_settings({PREFECT_API_URL: proxy.url}):
        yield proxy
