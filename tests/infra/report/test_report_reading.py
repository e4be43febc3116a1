"""The report can be read: on a telephone, by a stranger, and as Markdown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra import report as reports
from infra.contracts.records import Report
from infra.report import prose
from infra.report.html import render
from infra.report.text import coded
from infra.report.words import words
from tests.infra.made_records import make_bench, with_everything
from tests.infra.made_runs import make_run
from tests.infra.report.test_report import Page


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    return with_everything(make_run(folder, rows=60)), folder


@pytest.fixture(scope="module")
def text(full: tuple[Report, Path]) -> str:
    return render(*full)


def test_a_wide_table_tells_a_telephone_the_head_of_every_cell(text: str) -> None:
    found = re.findall(r'<table class="stack[^>]*>(.*?)</table>', text, re.DOTALL)
    # Metrics and their parts, noise, lengths, both of speed, what was asked.
    assert len(found) == 7
    for table in found:
        heads = re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", table)[1:]
        for row in table.split("<tbody>")[1].split("</tr>")[:-1]:
            cells = re.findall(r"<td([^>]*)>", row)
            told = [re.search(r'data-head="([^"]*)"', cell) for cell in cells]
            assert [m[1] if m else "-" for m in told] == [
                head if 'class="none"' not in cell else "-"
                for head, cell in zip(heads, cells, strict=True)
            ]


def test_a_cell_breaks_before_its_bracket(text: str) -> None:
    whole = '<span class="part">59 → 71.2</span> <span class="part">(1.21×, slower)</span>'
    assert whole in text


def test_numbers_below_the_verdict_tell_cost_from_gain(
    full: tuple[Report, Path], text: str
) -> None:
    report, folder = full
    tiles = text.partition('class="tiles"')[2].partition("</ul>")[0]
    kinds = re.findall('class="kind">([^<]*)<', tiles)
    assert kinds == ["Cost", "Cost", "Bought", "Bought", "Bought and cost"]
    alike = make_bench(candidate=False)
    arms = {a: found.model_copy(update={"bench": alike}) for a, found in report.arms.items()}
    tiles = render(report.model_copy(update={"arms": arms}), folder)
    assert '<span class="kind">Alike</span><b>1.00×</b>' in tiles


def test_words_are_explained_where_they_are_used(full: tuple[Report, Path], text: str) -> None:
    report = full[0]
    page = Page(text).text
    told = dict(words(report))
    for word, meaning in told.items():
        assert f"{word}{meaning}" in page
    assert "4 bits" in told["AWQ"]
    for brief in (reports.artifact_markdown(report), reports.model_card(report)):
        assert "Perplexity is how much a text surprises a model" in brief
        assert "Recovery is the quantized score as a share" in brief
    bare = report.model_copy(
        update={"comparison": report.comparison.model_copy(update={"fidelity": None})}
    )
    assert not any("KL" in word for word, _ in words(bare))


def test_a_method_is_told_once(full: tuple[Report, Path]) -> None:
    report = full[0]
    one, *others = report.comparison.metrics
    longer = one.model_copy(update={"method": f"{one.method}; and more", "clusters": 7})
    both = prose.interval_note([longer, *others])
    assert both.count(one.method) == 1
    assert "each subject is a cluster (7 of them)" in both
    assert "Holm" in both
    assert "Holm" not in reports.model_card(report)


@pytest.mark.parametrize(("text", "told"), [
    ("raise `limit` or *more*", "raise `limit` or \\*more\\*"),
    ("by `a_b`, c_d", "by `a_b`, c\\_d"),
    ("one ` alone_", "one \\` alone\\_"),
    ("`<b>`\n<i>", "`<b>` \\<i\\>"),
])  # fmt: skip
def test_code_stays_code_in_markdown(text: str, told: str) -> None:
    assert coded(text) == told


def test_a_model_card_has_no_words_of_python(full: tuple[Report, Path]) -> None:
    report = full[0]
    arm = report.arms["quantized"]
    made = {**(arm.checkpoint.quantization or {}), "modules_to_not_convert": None}
    checkpoint = arm.checkpoint.model_copy(update={"quantization": made})
    arms = report.arms | {"quantized": arm.model_copy(update={"checkpoint": checkpoint})}
    card = reports.model_card(report.model_copy(update={"arms": arms}))
    assert "| zero\\_point | true |" in card
    assert "| modules\\_to\\_not\\_convert | none |" in card
