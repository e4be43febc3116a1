"""Margins by metric stand in the report, and a verdict follows from them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra import report as reports
from infra.contracts.records import Report
from infra.report import plots, receipt
from infra.report.html import render
from infra.report.model_card import model_card
from tests.infra.made_margins import make_wikitext
from tests.infra.report.receipt.conftest import seal
from tests.infra.report.test_report import Page

Document = dict[str, Any]
MARGINS = {"word_perplexity": 0.5, "gsm8k/exact_match": 40.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    seal(make_wikitext(tmp_path, MARGINS), tmp_path)
    return tmp_path


def wrong(run: Path) -> dict[str, str]:
    checks = receipt.verify(run)
    return {
        check.name: " ".join(check.wrong)
        for check in checks
        if check.wrong and check.name != "checkpoints"
    }


def edit(run: Path, change: Callable[[Document], Any]) -> None:
    document = json.loads((run / "report.json").read_text())
    change(document)
    seal(Report.model_validate(document), run)


def test_what_was_judged_by_margins_holds(run: Path) -> None:
    report = Report.model_validate_json((run / "report.json").read_text())
    assert report.verdict.status == "PASS"
    assert wrong(run) == {}


def margins(**given: float) -> Callable[[Document], Any]:
    return lambda document: document["spec"]["verdict"].update(
        margins={key.replace("__", "/"): value for key, value in given.items()}
    )


@pytest.mark.parametrize(("change", "place", "says"), [
    # Another one, which would pass as well.
    (margins(word_perplexity=0.9, gsm8k__exact_match=40.0), "verdict",
     "own_margins.wikitext is 0.5, but 0.9 follows"),
    (margins(word_perplexity=0.5, gsm8k__exact_match=41.0), "verdict",
     "own_margins.gsm8k is 40.0, but 41.0 follows"),
    # A narrow one, by which it would not pass.
    (margins(word_perplexity=0.01, gsm8k__exact_match=40.0), "verdict",
     "status is 'PASS', but 'INCONCLUSIVE' follows"),
    # None, so that nothing was to be tested.
    (margins(gsm8k__exact_match=40.0), "comparison", "p_value is "),
    (lambda d: d["judged"]["quantized"]["comparison"]["metrics"][-1].update(p_value=0.9),
     "comparison", "metrics[10].p_value is 0.9, but"),
    (lambda d: d["judged"]["quantized"]["comparison"]["metrics"][-1].update(high=0.01),
     "comparison", "metrics[10].high is 0.01, but"),
])  # fmt: skip
def test_an_edited_margin_is_named_though_it_was_sealed_again(
    run: Path, change: Callable[[Document], Any], place: str, says: str
) -> None:
    edit(run, change)
    assert says in wrong(run)[place]


def test_page_markdown_card_and_figure_show_them(run: Path) -> None:
    report = Report.model_validate_json((run / "report.json").read_text())
    [pair] = report.pairs
    said = (
        "Margins of their own: exact_match of gsm8k 40 points and word_perplexity of wikitext 0.5."
    )
    page = Page(render(report, run)).text
    for text in (page, reports.artifact_markdown(report), model_card(pair)):
        plain = re.sub(r"[\\\s]+", " ", text.replace("\\_", "_"))
        assert said in plain
        assert "keeps its margin of 0.5 in word_perplexity of wikitext" in plain
    assert "margin 40 points" in page and "margin 0.5" in page
    assert "p of metrics without points: paired randomization test" in page
    limits = {line.name: line.limit for line in plots.shown(pair)}
    assert limits["gsm8k"] == -0.4
    assert limits["gpqa_main_zeroshot"] == -0.5
    assert "wikitext" not in limits


def test_a_report_without_any_points_holds_and_is_shown(tmp_path: Path) -> None:
    report = make_wikitext(tmp_path, {"wikitext/word_perplexity": 0.5}, alone=True)
    seal(report, tmp_path)
    assert report.verdict.status == "PASS"
    assert wrong(tmp_path) == {}
    [pair] = report.pairs
    for text in (Page(render(report, tmp_path)).text, reports.artifact_markdown(report)):
        assert "keeps its margin of 0.5" in text
    assert plots.draw(pair) is None
    assert "keeps its margin of 0.5" in model_card(pair)
