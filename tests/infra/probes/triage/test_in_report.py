from __future__ import annotations

from pathlib import Path

import pytest

from infra import report as reports
from infra.contracts.records import Check, Report, Triage
from infra.report.html import render
from tests.infra.made_runs import make_run
from tests.infra.report.test_report import Page

HOSTILE = "<script>alert(1)</script> | `x`"
TRIAGE = Triage(
    checks=(
        Check(name="agreement", value="0.993 of 705", wanted="at least 0.7", ok=True),
        Check(name="kernel", value=HOSTILE, wanted="a fast one", ok=False),
    ),
    agreement=0.993,
    seconds=4.2,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    return make_run(folder, rows=30), folder


def with_triage(report: Report) -> Report:
    candidate = report.arms["quantized"].model_copy(update={"triage": TRIAGE})
    return report.model_copy(update={"arms": {**report.arms, "quantized": candidate}})


def test_page_shows_what_was_looked_at(run: tuple[Report, Path]) -> None:
    report, folder = run
    page = Page(render(with_triage(report), folder))
    assert "triage" in [attributes["id"] for attributes in page.of("section")]
    assert "4.2 s" in page.text
    for check in TRIAGE.checks:
        row = f"{check.name} {check.value} {check.wanted} {'yes' if check.ok else 'no'}"
        assert row.replace(" ", "") in page.text.replace(" ", "")
    assert not page.of("script")


def test_markdown_shows_it_as_one_table(run: tuple[Report, Path]) -> None:
    text = reports.artifact_markdown(with_triage(run[0]))
    assert "## Triage" in text
    assert "| Check | Found | Wanted | Passed |" in text
    assert "| agreement | 0.993 of 705 | at least 0.7 | yes |" in text
    assert "<script>" not in text.replace("\\<", "")


def test_without_triage_there_is_no_section(run: tuple[Report, Path]) -> None:
    report, folder = run
    page = Page(render(report, folder))
    assert "triage" not in [attributes["id"] for attributes in page.of("section")]
    assert "## Triage" not in reports.artifact_markdown(report)
