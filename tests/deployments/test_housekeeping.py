"""`gc` on runs that were really made, and `doctor` beside a real Prefect server."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLOUD_API_URL,
    temporary_settings,
)

from deployments.__main__ import _Terminal, main
from deployments.server_checks import look_at_server
from infra.report import receipt
from infra.store.usage import FOLDER
from tests.infra.housekeeping.made_store import Made, aged, disk_use
from tests.infra.report.receipt.earlier import unpacked
from tests.prefect_server import Databases, Prefect, prefect_server


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made(tmp_path)
    monkeypatch.setenv("ASSAY_CACHE", str(made.cache))
    monkeypatch.setenv("ASSAY_RUNS", str(made.runs))
    monkeypatch.setenv("ASSAY_LEASES", str(made.settings.leases))
    return made


def sealed_run(made: Made, version: str, name: str, days: float) -> Path:
    """Put a run that an earlier version made and sealed into the folder, under another name."""
    run = unpacked(version, made.runs).rename(made.runs / name)
    for path in [*run.rglob("*"), run]:
        aged(path, days)
    return run


def test_what_was_said_is_freed_and_every_kept_report_verifies(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [
        sealed_run(made, "2", "sample-20261103-120000-00000002", 26),
        sealed_run(made, "3", "sample-20261120-120000-00000003", 9),
    ]
    lost = [made.run("sample", days=60 + number) for number in range(18)]
    for run in lost:
        made.used(run, f"scores/{run.name}", "scores/shared", days=60)
        made.entry(f"scores/{run.name}", days=5)
        aged(made.cache / "scores" / run.name, 5)
    made.used(kept[0], "scores/shared")
    made.used(kept[1], "checkpoints/kept")
    made.entry("scores/shared", days=60)
    made.entry("checkpoints/kept", days=60)
    policy = ["gc", "--keep-days", "1", "--keep-runs", "2"]
    before = disk_use(made.cache, made.runs)

    assert main(policy) == 0
    [said] = re.findall(r"^([\d,]+) bytes would come free", capsys.readouterr().out, re.MULTILINE)
    assert disk_use(made.cache, made.runs) == before and lost[0].is_dir()

    assert main([*policy, "--delete"]) == 0
    assert f"{said} bytes came free; {said} were said" in capsys.readouterr().out
    (made.cache / FOLDER / ".gc.lock").unlink()
    assert f"{before - disk_use(made.cache, made.runs):,}" == said
    assert sorted(path.name for path in made.runs.glob("[!.]*")) == [run.name for run in kept]
    assert sorted(path.name for path in (made.cache / "scores").iterdir()) == ["shared"]
    for run in kept:
        assert [check.wrong for check in receipt.verify(run) if check.wrong] == []
        assert main(["verify", str(run)]) == 0


def test_gc_refuses_a_store_of_a_later_version(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    (made.cache / ".assay-store.json").write_text('{"format": 2}')
    old = made.entry("scores/old", days=99)
    assert main(["gc", "--delete"]) == 2
    assert "kept in form 2" in capsys.readouterr().err and old.is_dir()


def test_only_what_was_asked_for_goes_and_is_named(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    score, run = made.entry("scores/old", days=99), made.run(days=99)
    assert main(["gc", "--keep-runs", "0", "--kind", "runs", "--list"]) == 0
    said = capsys.readouterr().out
    assert str(run) in said and str(score) not in said
    assert main(["gc", "--keep-runs", "0", "--kind", "runs", "--delete"]) == 0
    assert score.is_dir() and not run.exists()


def test_an_old_layout_is_cleaned_up_with_care(made: Made) -> None:
    """A store from before there were lists: what a kept run may have used stays."""
    (made.cache / ".assay-store.json").unlink()
    shutil.rmtree(made.cache / FOLDER, ignore_errors=True)
    sealed_run(made, "3", "sample-20261120-120000-00000003", 9)
    before, since = made.entry("scores/before", days=40), made.entry("answers-not", days=40)
    orphan = made.entry("checkpoints/orphan", days=40)
    exams = made.file("exams/0a", days=40)
    assert main(["gc", "--delete"]) == 0
    assert before.is_dir() and since.is_dir() and exams.is_file() and not orphan.exists()


@pytest.mark.parametrize(
    "given", [("--keep-days", "-1"), ("--keep-days", "nan"), ("--keep-runs", "-1")]
)
def test_what_would_free_everything_is_refused(
    made: Made, capsys: pytest.CaptureFixture[str], given: tuple[str, str]
) -> None:
    young = made.entry("scores/young")
    with pytest.raises(SystemExit) as ended:
        main(["gc", "--delete", *given])
    assert ended.value.code == 2 and young.is_dir()
    assert f"argument {given[0]}: {given[1]} is less than 0" in capsys.readouterr().err


def statuses() -> dict[str, tuple[str, str]]:
    return {one.name: (one.status, one.found) for one in look_at_server()}


def test_the_server_is_looked_at(tmp_path: Path, prefect_databases: Databases) -> None:
    page = {"PREFECT_SERVER_API_DEFAULT_LIMIT": "5"}  # a server refuses to be asked for more
    with (
        prefect_server(tmp_path, database=prefect_databases.empty, **page) as prefect,
        temporary_settings({PREFECT_API_URL: prefect.url}),
    ):
        found = statuses()
        assert found["Prefect server"][0] == "ok" and "clocks" in found["Prefect server"][1]
        assert found["Prefect database"][1].startswith("SQLite")
        assert found["work pool assay"] == ("note", "not registered")
        assert found["deployments"] == ("note", "none is registered")
        register(prefect, {"model": "of last year"})
        found = statuses()
        assert found["work pool assay"][0] == "note"
        assert "0 of 0 workers online" in found["work pool assay"][1]
        assert "not those of prefect.yaml" in found["deployment adhoc"][1]
        assert found["deployment nightly"] == ("note", "not registered")
    gone = {PREFECT_API_URL: prefect.url}
    with temporary_settings(gone):
        assert statuses()["Prefect server"][0] == "problem"


def register(prefect: Prefect, parameters: dict[str, str]) -> None:
    def post(path: str, **body: object) -> str:
        for _ in range(10):
            answer = httpx.post(f"{prefect.url}/{path}", json=body, trust_env=False, timeout=30)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)  # its database was locked, as Prefect's own client knows
        return str(answer.raise_for_status().json()["id"])

    post("work_pools/", name="assay", type="process", base_job_template={})
    flow = post("flows/", name="quantize-and-evaluate")
    # More than the server answers at a time, and before it in order.
    for name in (*(f"a{number}" for number in range(5)), "adhoc"):
        post("deployments/", name=name, flow_id=flow, parameters=parameters,
             entrypoint="flows/quantize_and_evaluate.py:quantize_and_evaluate",
             work_pool_name="assay", enforce_parameter_schema=False)  # fmt: skip
    theirs = post("flows/", name="of another project")
    post("deployments/", name="nightly", flow_id=theirs, entrypoint="jobs/nightly.py:load",
         parameters={"rows": 5}, enforce_parameter_schema=False)  # fmt: skip


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]) -> Iterator[str]:
    """Serve what returns a status and a body for each request; return the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said = answer(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/api"
        finally:
            http.shutdown()


def test_a_server_that_wants_a_password_is_a_problem_with_a_remedy() -> None:
    with (
        answering(lambda asked: (200 if asked.path.endswith("/health") else 401, b"")) as url,
        temporary_settings({PREFECT_API_URL: url}),
    ):
        [found] = look_at_server()
    assert found.status == "problem" and "PREFECT_API_AUTH_STRING" in found.remedy


@pytest.mark.parametrize("said", [b"ok", b'{"status": "up"}', b"[1]"])
def test_what_answers_as_no_prefect_server_does_is_one_problem(said: bytes) -> None:
    with answering(lambda _: (200, said)) as url, temporary_settings({PREFECT_API_URL: url}):
        [found] = look_at_server()
    assert found.status == "problem" and "PREFECT_API_URL" in found.remedy


def test_of_prefect_cloud_only_what_it_shows_is_asked() -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        asked.append(request.path)
        known = request.headers["Authorization"] == "Bearer pnu_known"
        return (200, b"[]") if known else (401, b"{}")

    with answering(answer) as cloud:
        url = f"{cloud}/accounts/a/workspaces/b"
        named = {PREFECT_CLOUD_API_URL: cloud, PREFECT_API_URL: url}
        with temporary_settings(named | {PREFECT_API_KEY: "pnu_known"}):
            found = statuses()
        with temporary_settings(named | {PREFECT_API_KEY: "pnu_other"}):
            [refused] = look_at_server()
    assert found["Prefect Cloud"] == ("ok", f"{httpx.URL(cloud).netloc.decode()} answers")
    assert found["work pool assay"] == ("note", "not registered")
    workspace = "/api/accounts/a/workspaces/b"
    assert set(asked) == {
        "/api/me/workspaces", f"{workspace}/work_pools/filter", f"{workspace}/deployments/filter"
    }  # fmt: skip
    assert refused.status == "problem" and "prefect cloud login" in refused.remedy
    assert "pnu_" not in repr(refused)


@pytest.mark.parametrize(("level", "news"), [("", True), ("DEBUG", True), ("warning", False)])
def test_news_are_as_loud_as_those_of_prefect(
    level: str, news: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", level)
    _Terminal().say("reused the scores")
    assert bool(capsys.readouterr().err) is news
