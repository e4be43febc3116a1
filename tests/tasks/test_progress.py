from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from prefect import flow, task
from prefect.artifacts import create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks import progress as progress_of_tasks
from tasks.news import delivered
from tasks.progress import PrefectProgress, _Bar, reported_to_prefect, timed
from tasks.task_page import show
from tests.api_proxy import api_proxy


def bar(unit: str, done: int, total: int | None, *, first: int = 0, seconds: float = 10) -> str:
    return _Bar("gsm8k", unit, total, done, first, started=time.monotonic() - seconds).line()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unit": "requests", "done": 0, "total": 100}, "gsm8k: 0/100 requests"),
        ({"unit": "requests", "done": 20, "total": 100}, "gsm8k: 20/100 requests, 2/s, 40 s left"),
        ({"unit": "requests", "done": 20, "total": 7280}, "gsm8k: 20/7280 requests, 2/s, 1 h left"),
        ({"unit": "requests", "done": 100, "total": 100}, "gsm8k: 100/100 requests, 10/s"),
        ({"unit": "rows", "done": 1, "total": 1319}, "gsm8k: 1/1319 rows, 0.1/s"),
        ({"unit": "layers", "done": 2, "total": 28}, "gsm8k: 2/28 layers, 0.2/s, 2 min 10 s left"),
        ({"unit": "MB", "done": 70, "total": None, "first": 20}, "gsm8k: 70 MB, 5/s"),
        ({"unit": "s", "done": 44, "total": None}, "gsm8k: 44 s"),
    ],
)
def test_a_line_says_how_far_how_fast_and_how_long(given: dict[str, int], said: str) -> None:
    assert bar(**given) == said  # type: ignore[arg-type]


def test_a_step_that_counted_seconds_counts_what_there_is_as_soon_as_it_knows() -> None:
    @flow
    def step() -> dict[str, _Bar]:
        progress = PrefectProgress()
        progress.update("quantizing", 3, None, "s")
        progress.update("quantizing", 0, 28, "layers")
        progress.update("quantizing", 7, 28, "layers")
        return progress._bars

    with disable_run_logger():
        [found] = step.fn().values()
    assert found.line().startswith("quantizing: 7/28 layers")


@pytest.fixture
def logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """Return a function that returns what was logged; nothing is sent, and no beat comes."""
    monkeypatch.setattr(progress_of_tasks, "get_run_logger", lambda: logging.getLogger("a run"))
    monkeypatch.setattr(PrefectProgress, "_send", lambda self, bar: None)
    monkeypatch.setattr(progress_of_tasks, "_BEAT_SECONDS", 60)
    caplog.set_level(logging.INFO, "a run")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "a run"]


def test_a_step_that_another_one_followed_has_nothing_left(
    logged: Callable[[], list[str]],
) -> None:
    with reported_to_prefect() as progress:
        progress.update("timing: short", 0, 32, "requests")
        progress.update("timing: short", 1, 32, "requests")
        progress.update("timing: long", 0, 8, "requests")
        progress.pass_on(log=True)
        assert logged() == ["timing: long: 0/8 requests"]
        progress.update("timing: short", 2, 32, "requests")  # both go on, side by side
        progress.pass_on(log=True)
        assert logged()[1].startswith("timing: short: 2/32 requests, ")
        progress.update("timing: long", 8, 8, "requests")
        progress.update("timing: short", 3, 32, "requests")
    assert [line.partition(", ")[0] for line in logged()[2:]] == ["timing: long: 8/8 requests"]


def test_a_step_that_fails_says_how_far_it_was(logged: Callable[[], list[str]]) -> None:
    with pytest.raises(ZeroDivisionError), reported_to_prefect() as progress:
        progress.update("triage", 3, 8, "prompts")
        progress.update("gsm8k", 0, 100, "documents")
        progress.update("gsm8k", 31, 100, "documents")
        progress.pass_on(log=True)
        progress.update("baseline: loading weights", 4, None, "s")
        raise ZeroDivisionError
    assert logged()[0].startswith("gsm8k: 31/100 documents, ")
    assert logged()[1:] == [
        "gsm8k: 31/100 documents when it ended", "baseline: loading weights: 4 s when it ended"
    ]  # fmt: skip


def test_what_nobody_can_foresee_says_for_how_long_it_has_gone_on(
    logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_of_tasks, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(progress_of_tasks, "_LOG_EVERY_BEATS", 1)
    with timed("writing the report"):
        while not any(line.endswith(" 1 s") for line in logged()):
            time.sleep(0.05)
    assert logged()[0] == "writing the report: 0 s"


@pytest.mark.usefixtures("prefect")
def test_a_step_does_not_wait_for_the_api_and_its_bar_arrives_when_it_is_back(
    beyond_prefect: ExitStack,
) -> None:
    # Log lines and events that were to be sent through it are waited for when the server ends.
    proxy = beyond_prefect.enter_context(api_proxy(PREFECT_API_URL.value() or ""))

    @task
    def step() -> None:
        create_progress_artifact(0.0)  # the client has been connected, as that of a run has
        proxy.leave()
        with reported_to_prefect() as progress:
            progress.update("rows", 10, 10, "rows")
        show("What it gave.", "a page")
        proxy.come_back()
        delivered(120)

    @flow
    def steps() -> None:
        step()

    with temporary_settings({PREFECT_API_URL: proxy.url}):
        steps()
    with get_client(sync_client=True) as client:
        found = {one.description: one.data for one in client.read_artifacts()}
    assert found["rows"] == 100
    assert found["a page"] == "What it gave."
