from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.scoring import client
from tests.infra.scoring.checking_client import WINDOW, likely
from tests.infra.scoring.checkpoints import write_merging_tokenizer
from tests.infra.suite.harness.completions_server import Completions, serving
from tests.infra.suite.harness.conftest import (  # noqa: F401  # two are fixtures
    Heard,
    heard,
    tokenizer,
)


@pytest.fixture(scope="session")
def merging_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a tokenizer that merges letters across spaces, without BOS."""
    return write_merging_tokenizer(tmp_path_factory.mktemp("tokenizers") / "merging")


@pytest.fixture(scope="session")
def bos_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a tokenizer that puts BOS before a text where special tokens are asked for."""
    from tests import tiny_model

    folder = tmp_path_factory.mktemp("tokenizers") / "bos"
    folder.mkdir()
    tiny_model._write_tokenizer(folder)
    return folder


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as in life, but a tenth to a hundredth as long."""
    monkeypatch.setattr(client, "_FIRST_PAUSE", 0.005)
    monkeypatch.setattr(client, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(client, "_WATCH_SECONDS", 0.1)
    monkeypatch.setattr(client, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(client, "_CALM_LOOK_SECONDS", 0.02)


@pytest.fixture
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    threads = set(threading.enumerate())
    gc.collect()
    gc.freeze()  # looking through what was there before takes most of the time
    yield
    gc.collect()  # what asyncio says of tasks that nobody awaited, it says here
    assert [record for record in caplog.records if record.name.startswith("asyncio")] == []
    others = ("process_request", "TMonitor")  # of the server, and of tqdm
    new = set(threading.enumerate()) - threads
    assert [one for one in new if not any(name in repr(one) for name in others)] == []


@pytest.fixture
def server() -> Iterator[Completions]:
    with serving(Completions(reply=likely, window=WINDOW)) as running:
        yield running


@pytest.fixture
def model(tokenizer: Path, heard: Heard) -> Callable[..., Any]:  # noqa: F811
    """Return a function that makes a model for a server, of our class or another."""

    def make(server: Completions, /, kind: Any = None, **options: Any) -> Any:
        if kind is None:
            from infra.scoring.model import AssayCompletions

            kind, options = AssayCompletions, {"say": heard.say, **options}
        return kind(
            **{
                "base_url": f"{server.base_url}/completions",
                "model": server.model,
                "tokenizer": str(tokenizer),
                "tokenizer_backend": "huggingface",
                "num_concurrent": 16,
                "max_length": server.window,
                "header": server.headers,
                **options,
            }
        )

    return make
