"""The summary of a CI job."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.records.verdict_file import VerdictFile
from infra.report import verdict_file
from infra.report.job_summary import job_summary
from tests.infra.made_runs import make_run


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> VerdictFile:
    report = make_run(
        tmp_path_factory.mktemp("run"), rows=60, candidates=2, failed={"candidate-2": "It died."}
    )
    return verdict_file.of_run(report)


def test_it_begins_with_the_verdict_and_has_every_candidate(document: VerdictFile) -> None:
    text = job_summary(document)
    first, _, second, *_ = text.splitlines()
    assert first == f"## ⚠️ {document.status}: `sample`"
    assert document.headline.split(":")[0] in second
    assert "### `quantized`" in text and "### `candidate-2`" in text
    assert "It died." in text
    gsm8k = next(line for line in text.splitlines() if line.startswith("| gsm8k |"))
    # 61.7 % and 70.0 % as the page has them, ends of the interval rounded outwards
    assert "| 70.0 % | 61.7 % | −8.3 | −20.7 to +2.2 |" in gsm8k


def test_hostile_texts_stay_in_their_cell(document: VerdictFile) -> None:
    one = document.candidates[0].model_copy(
        update={"name": "a|b", "headline": "<img src=x>\n# not a title", "reasons": ("![x](y)",)}
    )
    text = job_summary(document.model_copy(update={"candidates": (one,)}))
    assert "| a\\|b |" in text
    assert "<img" not in text.replace("\\<img", "")
    assert "\n# not a title" not in text
    assert "![x]" not in text


def test_a_run_without_candidates_has_a_summary(tmp_path: Path, document: VerdictFile) -> None:
    alone = document.model_copy(update={"candidates": (), "status": "NOT_JUDGED"})
    assert job_summary(alone).startswith("## 📏 NOT_JUDGED")
