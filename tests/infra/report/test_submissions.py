"""Files that are handed in are linked from the report, with the rows that hold nothing to ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import report as reports
from infra.contracts.records import Report, SubmissionFile
from infra.report.html import render
from tests.infra.made_runs import make_run
from tests.infra.report.test_report import Page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    made = make_run(folder, rows=30)
    arms = {}
    for arm, result in made.arms.items():
        file = SubmissionFile(path=f"submissions/{arm}/my judge.csv", rows=1234, uniform=7)
        task = result.tasks["gsm8k"].model_copy(update={"submission": file, "nothing_to_ask": 7})
        arms[arm] = result.model_copy(update={"tasks": {**result.tasks, "gsm8k": task}})
    return made.model_copy(update={"arms": arms}), folder


def test_the_page_links_the_file_of_each_arm(run: tuple[Report, Path]) -> None:
    page = Page(render(*run))
    links = {tag["href"] for name, tag in page.tags if name == "a" and "href" in tag}
    for arm in run[0].arms:
        assert f"submissions/{arm}/my%20judge.csv" in links
    assert "1,234" in page.text
    assert "7 of 30 rows of gsm8k hold nothing to ask" in page.text


def test_the_brief_names_them(run: tuple[Report, Path]) -> None:
    brief = reports.artifact_markdown(run[0])
    assert "## To hand in" in brief
    assert "submissions/baseline/my judge.csv" in brief


def test_a_run_without_any_says_nothing_of_it(tmp_path: Path) -> None:
    made = make_run(tmp_path, rows=30)
    assert "To hand in" not in render(made, tmp_path)
    assert "To hand in" not in reports.artifact_markdown(made)
