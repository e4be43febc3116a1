"""A schedule plans runs; somebody is told of a FAIL, a regression, a crash and a missed night.

By a real server, over HTTP. Prefect waits ten seconds at least for what does not come; all else is
set to be quick.
"""

from __future__ import annotations

import http.server
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.__main__ import main
from infra.contracts.records import Alert
from infra.report.trend import alerts
from tests.infra.made_runs import make_run, of_pair
from tests.prefect_server import ROOT, Databases, Prefect, prefect_server

QUICK = {
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
}
EMIT = """
import json, sys
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
for event in json.load(sys.stdin):
    assert emit_event(**event) is not None
EventsWorker.instance().drain()
"""
SECRET = "a-path-that-nobody-else-may-know-7731"
TAGGED = [{"prefect.resource.id": "prefect.tag.assay.notify.team", "prefect.resource.role": "tag"}]


class Receiver(http.server.ThreadingHTTPServer):
    """Somebody's webhook."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.came: list[tuple[str, dict[str, Any]]] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}/{SECRET}"

    def told(self, name: str) -> dict[str, dict[str, Any]]:
        """Return what one was told, by its kind."""
        return {one["kind"]: one for path, one in self.came if path == f"/{name}/{SECRET}"}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.came.append((self.path, body))
        self.send_response(204)
        self.end_headers()


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def prefect(
    tmp_path_factory: pytest.TempPathFactory, prefect_databases: Databases
) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        yield stack.enter_context(prefect_server(home, database=prefect_databases.registered))


def _notify(prefect: Prefect, *arguments: str, stdin: str | None = None) -> str:
    return subprocess.run(
        [sys.executable, "-m", "deployments", "notify", *arguments], cwd=ROOT, env=prefect.env,
        input=stdin, text=True, check=True, timeout=120, stderr=subprocess.PIPE,
    ).stderr  # fmt: skip


def _emit(prefect: Prefect, events: list[dict[str, Any]]) -> None:
    subprocess.run(
        [sys.executable, "-c", EMIT], env=prefect.env, input=json.dumps(events), text=True,
        check=True, timeout=120,
    )  # fmt: skip


def _ended(prefect: Prefect, deployment: str, *states: tuple[str, str]) -> str:
    """Make runs of a deployment that end so; return the last one's name."""
    for kind, name in states:
        run = prefect.read(f"deployments/{deployment}/create_flow_run")
        state = {"type": kind, "name": name, "message": "It was so."}
        prefect.read(f"flow_runs/{run['id']}/set_state", state=state, force=True)
    return str(run["name"])


def _await(what: str, reached: Any, prefect: Prefect) -> None:
    deadline = time.monotonic() + 180
    while not reached():
        assert time.monotonic() < deadline, (what, (prefect.home / "server.log").read_text())
        time.sleep(0.2)


def test_a_schedule_that_is_switched_on_plans_its_runs(prefect: Prefect) -> None:
    (nightly,) = prefect.read("deployments/filter", deployments={"name": {"any_": ["nightly"]}})
    schedule = ("quantize-and-evaluate/nightly", nightly["schedules"][0]["id"])
    prefect.call("deployment", "schedule", "resume", *schedule)
    _await("the nights to come", lambda: prefect.read("flow_runs/filter"), prefect)
    prefect.call("deployment", "schedule", "pause", *schedule)
    assert prefect.read("flow_runs/filter") == []


def test_each_kind_of_news_arrives(prefect: Prefect, tmp_path: Path) -> None:
    notes = tmp_path / "notes" / "team.jsonl"
    soon = ("--start-within", "0.003", "--verdict-within", "0.003")
    with receiving() as webhook:
        for _ in range(2):  # the second replaces the first
            _notify(prefect, "--webhook", "-", *soon, stdin=webhook.url("all") + "\n")
        _notify(prefect, "team", "--webhook", webhook.url("team"), "--file", str(notes), *soon)
        assert len(prefect.read("automations/filter")) == 12

        found = prefect.read("deployments/filter", deployments={"name": {"any_": ["nightly"]}})
        nightly = str(found[0]["id"])
        late = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
        scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": late}}
        waiting = prefect.read(f"deployments/{nightly}/create_flow_run", state=scheduled)
        passed = _ended(
            prefect, nightly,
            ("CANCELLED", "Cancelled"), ("CRASHED", "Crashed"), ("COMPLETED", "Passed"),
        )  # fmt: skip
        report = make_run(tmp_path, rows=24)
        verdict, *_ = alerts.events(report)
        failed = {**verdict, "resource": {**verdict["resource"], "assay.verdict": "FAIL"}}
        alert = Alert(reasons=('It "got" worse.',), good_run="earlier", changes=("a → b",))
        _, worse = alerts.events(of_pair(report, alert=alert))
        _emit(prefect, [verdict, {**failed, "related": TAGGED}, worse])

        kinds = {"fail", "regression", "crash", "skipped", "not-started", "missed"}
        _await("all kinds", lambda: webhook.told("all").keys() == kinds, prefect)
        told = webhook.told("all")
        assert told["fail"]["label"] == report.spec.results.label
        assert report.verdict.headline in told["fail"]["text"]
        assert told["fail"]["page"] == report.provenance.get("prefect_url", "")
        assert 'It "got" worse.' in told["regression"]["text"]
        assert told["crash"]["text"].endswith("It was so.")
        assert told["not-started"]["run"] == waiting["name"]
        assert told["missed"]["run"] == passed
        page = prefect.url.removesuffix("/api") + "/runs/flow-run/"
        assert told["missed"]["page"].startswith(page)
        assert webhook.told("team").keys() == {"fail"}, "only of runs that name it"
        assert len(webhook.came) == len(kinds) + 1, "each once"

        prefect.delete(f"flow_runs/{waiting['id']}")  # which the worker would take as well
        _await("the note", lambda: _notes_wait(prefect), prefect)
        prefect.call("worker", "start", "--pool", "assay", "--run-once", timeout=180)
        (line,) = notes.read_text().splitlines()
        assert json.loads(line) == webhook.told("team")["fail"]

        written = [prefect.home / "server.log", *prefect.home.rglob("*.db*")]
        assert [str(file) for file in written if SECRET.encode() in file.read_bytes()] == []
        assert len(written) > 1
        assert "6 automations removed" in _notify(prefect, "team", "--remove")
        assert len(prefect.read("automations/filter")) == 6


def test_what_is_refused_leaves_what_was_told_before(
    prefect: Prefect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    notes = str(tmp_path / "kept.jsonl")
    _notify(prefect, "kept", "--file", notes)

    def there() -> list[str]:
        found = prefect.read("automations/filter")
        return sorted(one["id"] for one in found if one["name"].startswith("assay-kept-"))

    before = there()
    assert len(before) == 6
    with temporary_settings({PREFECT_API_URL: prefect.url}):
        for address in ("", "ftp://somewhere", "http://"):
            monkeypatch.setattr(sys, "stdin", io.StringIO(f"{address}\n"))
            assert main(["notify", "kept", "--webhook", "-"]) != 0
            assert "no URL" in capsys.readouterr().err
            assert there() == before
    _notify(prefect, "kept", "--remove")


def _notes_wait(prefect: Prefect) -> bool:
    found = prefect.read("flow_runs/filter", flows={"name": {"any_": ["write-note"]}})
    return bool(found)
