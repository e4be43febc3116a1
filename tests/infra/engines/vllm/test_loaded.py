"""vLLM that was loaded before it was told what to serve."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from infra.engines.vllm import loaded
from infra.engines.vllm.command import KEY, SERVER
from infra.engines.vllm.server import loader
from tests.shared_servers import Served

LOADER = Path(loaded.__file__)


def test_the_server_that_others_ask_was_loaded_ahead(sample_server: Served) -> None:
    server = sample_server.server
    (process,) = psutil.Process(server._child.pid).children()
    assert str(LOADER) in process.cmdline()
    # What it is for people, and in every key, is the command that does the same.
    assert SERVER in server.record.command and str(LOADER) not in server.record.command
    assert server.api_key.get_secret_value() not in json.dumps(
        [process.cmdline(), process.environ()]
    )
    assert KEY not in process.environ()
    assert "unpredictable" not in sample_server.log.read_text(), "it runs as the main module"
    assert not any(child.status() == psutil.STATUS_ZOMBIE for child in process.children())


@pytest.mark.parametrize(("answer", "code"), [(loaded.NOT_INITIALIZED, 0), (0, 1)])
def test_it_ends_where_loading_has_used_the_gpu_driver(
    monkeypatch: pytest.MonkeyPatch, answer: int, code: int
) -> None:
    driver = SimpleNamespace(cuDeviceGetCount=lambda _: answer)
    monkeypatch.setattr(loaded.ctypes, "CDLL", lambda _: driver)
    monkeypatch.setattr(loaded, "load", lambda _: None)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        monkeypatch.setattr(sys, "argv", ["loaded.py", str(theirs.detach())])
        ours.shutdown(socket.SHUT_WR)  # as of a driver that is gone
        assert loaded.main() == code
        said = ours.recv(64)
    assert (float(said) >= 0) if code == 0 else not said


def test_without_a_gpu_there_is_no_driver_to_use() -> None:
    assert not loaded.uses_gpu()


@pytest.mark.parametrize(
    "written",
    [None, "", "{", "[]", "7", "{}", '{"architectures": null}', '{"architectures": 7}', "\xff"],
)
def test_a_config_that_cannot_be_read_is_left_to_the_engine(
    tmp_path: Path, written: str | None
) -> None:
    if written is not None:
        (tmp_path / "config.json").write_bytes(written.encode("latin-1"))
    assert loader(Path("python"), tmp_path) == ["python", "-I", "-u", str(LOADER)]
    named = tmp_path / "named"
    named.mkdir()
    (named / "config.json").write_text('{"architectures": ["A", 7]}')
    assert loader(Path("python"), named)[-1] == "A"
