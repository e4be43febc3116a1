"""The server as composed, on a real PostgreSQL: it answers whoever knows the password alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.composed import Composed, composed_server
from tests.composed_server import leaks, plant, strangers_are_refused
from tests.postgresql import PROGRAMS
from tests.temporary_folders import of_everybody

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed"),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Composed]:
    # Another than pytest's own: PostgreSQL's user enters it.
    with TemporaryDirectory(prefix="composed-", dir=of_everybody()) as name:
        Path(name).chmod(0o755)
        with composed_server(Path(name)) as stack:
            yield stack


def test_strangers_are_refused(stack: Composed) -> None:
    assert strangers_are_refused(stack) > 350


def test_blocks_are_kept_unreadable(stack: Composed) -> None:
    plant(stack)
    (block, *_) = [one for one in stack.read("block_documents/filter", include_secrets=True)
                   if one["name"] == "hf-token"]  # fmt: skip
    assert block["data"]["value"].startswith("hf_")  # so it is there to be found
    assert leaks(stack) == []
