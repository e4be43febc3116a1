from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from infra.contracts.errors import AssayError, EnvironmentBuildError, StoreError
from infra.contracts.progress import Silent
from infra.housekeeping.doctor import Check, elsewhere, looked_at, machine, store
from infra.machine import lease_records
from infra.machine.environments import current
from infra.preflight.findings import note, problems
from infra.store.settings import Settings
from infra.store.usage import MARKER
from tests.infra.housekeeping.made_store import Made


def bad() -> str:
    raise AssayError("It is so.", remedy="Do it.")


def broken() -> str:
    raise ZeroDivisionError("by zero")


def test_each_check_has_its_line_whatever_the_others_do() -> None:
    checks = [
        Check("one", lambda: "fine"), Check("two", bad), Check("three", broken),
        Check("four", lambda: [note("4a", "so"), note("4b", "and so")]),
    ]  # fmt: skip
    found = looked_at(checks, Silent())
    assert [(one.name, one.status) for one in found] == [
        ("one", "ok"), ("two", "problem"), ("three", "problem"), ("4a", "note"), ("4b", "note"),
    ]  # fmt: skip
    assert found[1].remedy == "Do it."
    assert "ZeroDivisionError" in found[2].found


def test_what_hangs_keeps_nobody_waiting() -> None:
    hangs = threading.Event()
    checks = [
        Check("hangs", lambda: str(hangs.wait())), Check("works", lambda: "fine"),
        Check("large", lambda: str(hangs.wait()), may_be_slow=True),
    ]  # fmt: skip
    found = looked_at(checks, Silent(), seconds=0.5)
    hangs.set()
    assert [one.status for one in found] == ["problem", "ok", "note"]


@contextmanager
def server(status: int, moment: float) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", format_datetime(datetime.fromtimestamp(moment, UTC), True))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield monkeypatch


def test_a_hub_answers_or_is_only_noted(asked: pytest.MonkeyPatch) -> None:
    with server(200, time.time()) as url:
        asked.setenv("MODELSCOPE_ENDPOINT", url)
        found = elsewhere.hub("modelscope")
        assert isinstance(found, str) and url in found and "clocks" in found
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        asked.setenv("MODELSCOPE_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        away = elsewhere.hub("modelscope")
    assert not isinstance(away, str)
    assert away.status == "note" and "MODELSCOPE_ENDPOINT" in away.remedy


@pytest.mark.parametrize(("off", "said"), [(-3600, "ahead of"), (3600, "behind")])
def test_a_clock_that_is_far_off_is_a_problem(
    asked: pytest.MonkeyPatch, off: float, said: str
) -> None:
    with server(200, time.time() + off) as url:
        asked.setenv("MODELSCOPE_ENDPOINT", url)
        with pytest.raises(AssayError, match=said):
            elsewhere.hub("modelscope")


def test_an_answer_without_a_date_says_nothing_of_clocks() -> None:
    assert elsewhere.clock_beside(httpx.Response(200), time.time()) == ""


def environment_of_today(made: Made, python: str) -> Path:
    [name] = [name for name in current() if name.startswith("awq-cpu-")]
    link = made.cache / "environments" / name / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(python)
    return link


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


@pytest.mark.usefixtures("no_gpu")
def test_an_environment_is_built_or_will_be_or_does_not_run(tmp_path: Path) -> None:
    made = Made(tmp_path)
    missing = machine.environment("awq", made.settings)
    assert not isinstance(missing, str) and "will be built" in missing.found
    link = environment_of_today(made, "/bin/true")
    assert machine.environment("awq", made.settings) == f"built, {link.parent.parent}"
    link.unlink()
    link.symlink_to("/bin/false")
    with pytest.raises(AssayError, match="does not run"):
        machine.environment("awq", made.settings)
    link.unlink()
    link.symlink_to("/nowhere/python")
    with pytest.raises(EnvironmentBuildError, match="is gone"):
        machine.environment("awq", made.settings)


def test_who_listens_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = machine.port(taken.getsockname()[1])
        assert not isinstance(found, str) and str(os.getpid()) in found.found


def test_the_store_is_looked_at(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry("checkpoints/a", size=3_000_000)
    made.run()
    found = looked_at(store.checks(made.settings), Silent())
    lines = {one.name: one for one in found}
    assert problems(found) == []
    assert lines["disk: checkpoints"].found == "2.9 MiB in 1"
    assert lines["runs"].found.startswith("1 in")
    assert lines["leases"].found.startswith("none is held")
    (made.cache / "stranger").touch()
    assert "stranger" in str(store.form(made.cache))
    (made.cache / MARKER).write_text(json.dumps({"format": 99}))
    with pytest.raises(StoreError):
        store.form(made.cache)


def test_a_lease_whose_run_is_gone_is_noted(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache", leases=tmp_path)
    record = {
        "mark": "0a", "what": "run x", "started": "2026-11-01T00:00:00Z", "boot": "another",
        "namespace": 1, "driver": {"pid": 1, "started": 1.0}, "slots": ["cpu-0"],
    }  # fmt: skip
    path = tmp_path / "0a.json"
    path.write_text(json.dumps(record))
    assert lease_records.read(path) is not None
    [found] = store.leases(settings)
    assert found.status == "note" and "cpu-0" in found.found and "gone" in found.found
