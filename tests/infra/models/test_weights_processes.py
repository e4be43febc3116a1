"""Several processes want the same weights, or one of them is killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.contracts.progress import Silent
from infra.contracts.specs import ModelSpec
from infra.models.weights import fetch
from infra.store.settings import Settings
from tests.infra.models.whole import require_whole
from tests.stub_hub import Repo, StubHub, model_files, running

_FETCH = """
import sys
from pathlib import Path
from infra.contracts.specs import ModelSpec
from infra.contracts.progress import Silent
from infra.store.settings import Settings
from infra.models.weights import fetch
class Loud(Silent):
    def say(self, text):
        print(text, flush=True)
spec = ModelSpec(id="some/model", source=sys.argv[1])
weights = fetch(spec, settings=Settings(cache=Path(sys.argv[2])), progress=Loud())
print("digest", weights.digest)
"""


def start(source: str, settings: Settings, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _FETCH, source, str(settings.cache)]
    with output.open("wb") as stream:
        return subprocess.Popen(command, stdout=stream)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope"))
        yield hub


def test_two_processes_download_once(hub: StubHub, tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache")
    repo = hub.repos["models/some/model"] = Repo(model_files())
    hub.gate.clear()  # holds the first download until the second process waits for it
    outputs = [tmp_path / "first", tmp_path / "second"]
    pair = [start("huggingface", settings, output) for output in outputs]
    try:
        wait_for(lambda: any("another run" in output.read_text() for output in outputs))
        hub.gate.set()
        assert [process.wait(60) for process in pair] == [0, 0]
    finally:
        hub.gate.set()
        for process in pair:
            process.kill()
            process.wait()
    said = [output.read_text() for output in outputs]
    assert len({re.search(r"digest \w+", text)[0] for text in said}) == 1
    assert hub.served["model.safetensors"] == len(repo.files["model.safetensors"])
    assert len(hub.authorized) == len(hub.served)


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_killed_download_looks_unfinished_and_is_finished_later(
    hub: StubHub, tmp_path: Path, source: str
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    branch = {"huggingface": "main", "modelscope": "master"}[source]
    repo = hub.repos["models/some/model"] = Repo(model_files(24_000_000), branch=branch)
    hub.seconds_per_chunk = 0.01
    final = settings.weights / source / "some--model" / repo.commit

    def received() -> int:
        parts = [*settings.weights.rglob("model.safetensors*")]
        return sum(part.stat().st_size for part in parts)

    with start(source, settings, tmp_path / "output") as process:
        try:
            wait_for(lambda: received() > 10_000_000)
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not final.exists()
    hub.seconds_per_chunk = 0.0
    wait_for(lambda: not hub.sending)  # what goes to the killed one still is not counted below
    hub.served.clear()
    weights = fetch(ModelSpec(id="some/model", source=source), settings=settings, progress=Silent())
    require_whole(weights)
    assert weights.path == final
    assert hub.served["model.safetensors"] <= len(repo.files["model.safetensors"]) - 10_000_000
    names = sorted(path.name for path in final.rglob("*") if path.is_file())
    assert names == sorted([".card.md", ".manifest.json", *(file.name for file in weights.files)])
