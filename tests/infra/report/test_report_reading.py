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
from tests.infra.made_runs import make_run, of_pair
from tests.infra.report.test_report import Page


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    return with_everything(make_run(folder, rows=60)), folder


@pytest.fixture(scope="module")
def text(full: tuple[Report, Path]) -> str:
    return render(*full)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("several")
    return render(with_everything(make_run(folder, rows=60, candidates=3)), folder)


# Metrics and their parts, noise, lengths, both of speed; the spec, the checkpoints. Of
# several candidates each has the former; beside them stand the ranking and the scores.
@pytest.mark.parametrize(("page", "tables"), [("text", 8), ("several", 3 * 6 + 4)])
def test_a_wide_table_gives_a_telephone_the_head_of_every_cell(
    page: str, tables: int, request: pytest.FixtureRequest
) -> None:
    text = request.getfixturevalue(page)
    found = re.findall(r'<table class="stack[^>]*>(.*?)</table>', text, re.DOTALL)
    assert len(found) == tables
    for table in found:
        heads = re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", table)[1:]
        for row in table.split("<tbody>")[1].split("</tr>")[:-1]:
            cells = re.findall(r"<td([^>]*)>", row)
            named = [re.search(r'data-head="([^"]*)"', cell) for cell in cells]
            assert [m[1] if m else "-" for m in named] == [
                head if 'class="none"' not in cell else "-"
                for head, cell in zip(heads, cells, strict=True)
            ]


def test_a_cell_breaks_before_its_bracket(text: str) -> None:
    whole = '<span class="part">59 → 71.2</span> <span class="part">(1.21×, slower)</span>'
    assert whole in text


def test_numbers_below_the_verdict_part_cost_from_gain(
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
    [pair] = report.pairs
    page = Page(text).text
    meanings = dict(words(report))
    for word, meaning in meanings.items():
        assert f"{word}{meaning}" in page
    assert "4 bits" in meanings["AWQ"]
    for brief in (reports.artifact_markdown(report), reports.model_card(pair)):
        assert "Perplexity is how much a text surprises a model" in brief
        assert "Recovery is the candidate's score as a share" in brief
    bare = of_pair(report, comparison=pair.comparison.model_copy(update={"fidelity": None}))
    assert not any("KL" in word for word, _ in words(bare))


def test_a_method_is_named_once(full: tuple[Report, Path]) -> None:
    [pair] = full[0].pairs
    one, *others = pair.comparison.metrics
    longer = one.model_copy(update={"method": f"{one.method}; and more", "clusters": 7})
    both = prose.interval_note(pair, [longer, *others])
    assert both.count(one.method) == 1
    assert "each subject is a cluster (7 of them)" in both
    assert "Holm" in both
    assert "Holm" not in reports.model_card(pair)


@pytest.mark.parametrize(("text", "shown"), [
    ("raise `limit` or *more*", "raise `limit` or \\*more\\*"),
    ("by `a_b`, c_d", "by `a_b`, c\\_d"),
    ("one ` alone_", "one \\` alone\\_"),
    ("`<b>`\n<i>", "`<b>` \\<i\\>"),
])  # fmt: skip
def test_code_stays_code_in_markdown(text: str, shown: str) -> None:
    assert coded(text) == shown


def test_a_model_card_has_no_words_of_python(full: tuple[Report, Path]) -> None:
    report = full[0]
    arm = report.arms["quantized"]
    made = {**(arm.checkpoint.quantization or {}), "modules_to_not_convert": None}
    checkpoint = arm.checkpoint.model_copy(update={"quantization": made})
    arms = report.arms | {"quantized": arm.model_copy(update={"checkpoint": checkpoint})}
    card = reports.model_card(report.model_copy(update={"arms": arms}).pairs[0])
    assert "| zero\\_point | true |" in card
    assert "| modules\\_to\\_not\\_convert | none |" in card
