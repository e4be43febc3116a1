"""What a person does in the Prefect UI, in a real browser: starts a run, follows it, cancels it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from infra.contracts.records import PythonEnvironment, Report
from tasks.outcomes import NAMES
from tests import tab
from tests.browser import CHROMIUM
from tests.flows.test_matrix_on_workers import wait_for, worker
from tests.flows.test_quantize_and_evaluate import processes_of_runs
from tests.prefect_server import Databases, Prefect, prefect_server
from tests.process_marks import INHERITED

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.engine,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

_PATIENCE = 240_000
"""Milliseconds until a page shows what it should; the machine may be busy with other tests."""


@pytest.fixture(scope="module")
def prefect(
    tmp_path_factory: pytest.TempPathFactory, prefect_databases: Databases
) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    with prefect_server(home, database=prefect_databases.registered) as server:
        server.env |= {
            INHERITED: str(home),  # by which its runs' processes are found
            "ASSAY_RUNS": str(home / "runs"),
            "ASSAY_LEASES": str(home / "leases"),
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        yield server


@pytest.fixture
def page() -> Iterator[Page]:
    with tab.opened() as page:
        page.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        yield page


def open_form(prefect: Prefect, page: Page) -> None:
    page.goto(f"{prefect.url.removesuffix('/api')}/v2/deployments")
    page.get_by_role("link", name="quick", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    expect(page.get_by_label("model")).to_have_value("sample")


def write(page: Page, *texts: str) -> None:
    """Write the candidates, and the tasks, instead of choosing them."""
    for number, text in enumerate(texts):
        page.get_by_role("tab", name="Write").nth(number).click()
        _, model, *written = page.get_by_role("textbox").all()
        assert (model.input_value(), written[number].input_value()) == ("sample", "")
        written[number].fill(text)


def submit(prefect: Prefect, page: Page) -> str:
    """Send the form, go to the page of the run that comes of it, and return the run."""
    page.wait_for_timeout(1000)  # a field passes on what was written a moment later
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/deployment/*?tab=Runs")
    run = prefect.read("flow_runs/filter", sort="EXPECTED_START_TIME_DESC")[0]
    page.get_by_role("link", name=run["name"]).first.click()
    page.wait_for_url("**/runs/flow-run/*")
    return str(run["id"])


def leave(page: Page) -> str:
    """Look at nothing until later: without a GPU, drawing a run takes half the processor."""
    followed = page.url
    page.goto("about:blank")
    return followed


def state_of(prefect: Prefect, run: str) -> str:
    (found,) = prefect.read("flow_runs/filter", flow_runs={"id": {"any_": [run]}})
    return str(found["state_type"])


def expect_drawn(page: Page, images: str) -> None:
    """Fail without an image, or with one that is broken; a page may be drawn twice until then."""
    drawn = "all => all.length > 0 && all.every(image => image.naturalWidth > 0)"
    page.wait_for_function(f"({drawn})([...document.querySelectorAll({images!r})])")


@pytest.mark.timeout(2400)
def test_a_run_is_started_from_the_form_and_followed_to_its_report(
    prefect: Prefect,
    page: Page,
    server_environment: PythonEnvironment,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the real engine, with nothing answered before; as little as the form can ask for."""
    monkeypatch.setitem(prefect.env, "ASSAY_CACHE", str(own_cache))
    before = prefect.read("flow_runs/filter")
    open_form(prefect, page)
    page.get_by_label("model").fill("qwen")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("'qwen' does not match").first).to_be_visible()
    assert prefect.read("flow_runs/filter") == before

    page.get_by_label("model").fill("sample")
    write(page, "./infra/sample/model-awq", "gpqa_main_zeroshot")
    page.get_by_label("label").fill("form")
    run = submit(prefect, page)
    followed = leave(page)
    with worker(prefect, "one"):
        wait_for("a step", prefect, lambda: prefect.read("task_runs/filter"))
        page.goto(followed)
        expect(page.get_by_text("sample · model-awq · form").first).to_be_visible()
        leave(page)
        ended = ("COMPLETED", "FAILED", "CRASHED")
        wait_for("the end", prefect, lambda: state_of(prefect, run) in ended, 1800)
    (folder,) = (prefect.home / "runs").glob("form-*")
    report = Report.model_validate_json((folder / "report.json").read_text())
    page.goto(followed)
    expect(page.get_by_text(NAMES[report.verdict.status], exact=True).first).to_be_visible()

    page.get_by_role("tab", name="Artifacts").click()
    expect_drawn(page, "img[src^='data:image']")
    page.get_by_role("link", name="report-form").first.click()
    page.wait_for_url("**/artifacts/key/*")
    expect(page.get_by_text(report.verdict.status).first).to_be_visible()
    expect_drawn(page, "img[src^='data:image']")

    page.goto((folder / "report.html").as_uri())
    expect(page.locator("body")).to_contain_text(report.verdict.status)
    expect_drawn(page, "img")


def test_a_run_that_is_cancelled_leaves_nothing(
    prefect: Prefect,
    page: Page,
    server_environment: PythonEnvironment,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(prefect.env, "ASSAY_CACHE", str(own_cache))
    leases = prefect.home / "leases"
    open_form(prefect, page)
    write(page, "./infra/sample/model-awq")
    page.get_by_label("label").fill("cancelled")
    run = submit(prefect, page)
    followed = leave(page)
    with worker(prefect, "two"):
        wait_for("an engine", prefect, lambda: processes_of_runs(prefect))
        assert list(leases.glob("*.json"))
        page.goto(followed)
        page.get_by_role("button", name="Open menu").click()
        page.get_by_role("menuitem", name="Cancel").click()
        page.get_by_role("button", name="Cancel Flow Run").click()
        wait_for("the request", prefect, lambda: state_of(prefect, run).startswith("CANCEL"))
        leave(page)
        wait_for("the end", prefect, lambda: state_of(prefect, run) == "CANCELLED")
        wait_for("nothing", prefect, lambda: processes_of_runs(prefect) == [])
        assert list(leases.glob("*.json")) == []
    page.goto(followed)
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()
