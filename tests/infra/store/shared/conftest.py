"""Both kinds of places: a folder that all machines have mounted, and a store of objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.store.settings import Settings
from infra.store.shared import Shared, place
from tests import object_store

LEASE_SECONDS = 2.5
"""Long enough that a live holder is heard of in time on a busy machine."""


@pytest.fixture(params=["file", "objects"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where everything is shared."""
    if request.param == "file":
        yield (tmp_path / "mounted").as_uri()
        return
    with object_store.serving() as store:
        yield store.url


@pytest.fixture
def objects() -> Iterator[str]:
    """A store of objects alone, for what takes as long as leases."""
    with object_store.serving() as store:
        yield store.url


class Machine:
    """A cache of its own before the shared place."""

    def __init__(self, url: str, home: Path) -> None:
        settings = Settings(cache=home, shared=url, shared_lease_seconds=LEASE_SECONDS)
        self.cache = home
        self.said: list[str] = []
        self.shared = Shared(place(url), settings, self.said.append)


@pytest.fixture
def machines(url: str, tmp_path: Path) -> tuple[Machine, Machine]:
    """Two machines that share a place."""
    return Machine(url, tmp_path / "one"), Machine(url, tmp_path / "two")
