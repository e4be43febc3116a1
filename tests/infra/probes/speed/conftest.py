from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.contracts.progress import Silent
from infra.engines.live import LiveServer
from tests.infra.probes.speed.served import serving
from tests.process_marks import Marked


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server for all who do not kill it."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    with serving(Marked(), log, Silent()) as running:
        yield running
