"""A margin of a metric that no task is judged by is refused before anything runs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from deployments.overrides import override
from deployments.recipes import sample
from infra import preflight
from infra.contracts.errors import PreflightError
from infra.contracts.progress import Silent
from infra.contracts.specs import RunSpec
from infra.preflight import margins, plan
from infra.store.settings import Settings
from infra.suite.harness.prepared import check_suite
from infra.suite.harness.remembered import Facts, remembered
from tests.infra.suite.harness.own_tasks import DEFINITION, own, write

PAGES = """\
task: pages
dataset_path: json
dataset_kwargs:
  data_files:
    test: rows.jsonl
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{q}}"
metric_list:
  - metric: word_perplexity
  - metric: byte_perplexity
"""
MADE = """\
  - metric: surprise
    aggregation: !function utils.highest
    higher_is_better: true
"""


@pytest.fixture
def house(tmp_path: Path) -> tuple[RunSpec, Settings]:
    """House tasks: acc of choices, word_perplexity of pages, and what code makes of all rows."""
    folder = write(tmp_path / "tasks", utils_py="def highest(rows):\n    return max(rows)\n\n\n"
                   "def marks(doc, results):\n    return {'surprise': 1.0}\n")  # fmt: skip
    (folder / "pages.yaml").write_text(PAGES)
    summed = DEFINITION.replace("house_task", "summed").replace(
        "  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n", MADE
    ).replace("output_type:", "process_results: !function utils.marks\noutput_type:")  # fmt: skip
    (folder / "summed.yaml").write_text(summed)
    evaluation = own(folder, "house_task", "pages", "summed")
    return sample().model_copy(update={"evaluation": evaluation}), Settings(
        cache=tmp_path / "cache", runs=tmp_path / "runs"
    )


def look_at(house: tuple[RunSpec, Settings], *given: str) -> list[preflight.Finding]:
    return margins.look_at(override(house[0], given), house[1], Silent())


def test_margins_are_looked_at_once_the_tasks_are_loaded(
    house: tuple[RunSpec, Settings],
) -> None:
    assert look_at(house) == []
    (later,) = look_at(house, "verdict.margins.word_perplexity=0.3")
    assert later.status == "note"

    check_suite(house[0].evaluation, settings=house[1], progress=Silent())
    assert look_at(house) == []
    (held,) = look_at(
        house, "verdict.margins.word_perplexity=0.3", "verdict.margins.house_task/acc=2"
    )
    assert held.status == "ok"
    assert held.found == "acceptable loss: acc of house_task 2 points, word_perplexity of pages 0.3"
    _, unknown = look_at(house, "verdict.margins.surprise=1")
    assert unknown.status == "note"
    assert "surprise of summed: nothing is known" in unknown.found


@pytest.mark.parametrize(("key", "meant"), [
    ("word_perplexty", "word_perplexity"),
    ("page/word_perplexity", "pages/word_perplexity"),
    ("byte_perplexity", "word_perplexity"),  # a second metric judges nothing
    ("nosuch", None),
])  # fmt: skip
def test_a_key_that_fits_no_metric_is_refused_with_one_that_does(
    house: tuple[RunSpec, Settings], key: str, meant: str | None
) -> None:
    check_suite(house[0].evaluation, settings=house[1], progress=Silent())
    given = [f"verdict.margins.{key}=0.3", "verdict.margins.acc=2"]
    (refused,) = look_at(house, *given)
    assert refused.status == "problem"
    assert refused.found == f"verdict.margins names {key}, by which no task is judged."
    assert "pages is judged by word_perplexity" in refused.cause
    with pytest.raises(PreflightError, match="by which no task is judged"):
        preflight.refuse([refused])
    # What the remedy says, typed.
    words = shlex.split(refused.remedy.partition("--set ")[2].rstrip("."))
    mended = override(house[0], [*given, words[0].rstrip(".")])
    assert mended.verdict.margins == ({meant: 0.3} if meant else {}) | {"acc": 2.0}
    (found,) = margins.look_at(mended, house[1], Silent())
    assert found.status == "ok"


def test_what_an_earlier_version_remembers_is_loaded_again(
    house: tuple[RunSpec, Settings],
) -> None:
    spec, settings = house
    check_suite(spec.evaluation, settings=settings, progress=Silent())
    (kept,) = [path for path in (settings.cache / "suites").iterdir() if path.is_file()]
    facts = Facts.model_validate_json(kept.read_text())
    kept.write_text(facts.model_dump_json(exclude={"first_metrics"}))
    found = remembered(spec.evaluation, settings, Silent())
    assert found is not None and not found.first_metrics
    (held,) = look_at(house, "verdict.margins.word_perplexity=0.3")
    assert held.status == "ok"


def test_where_no_task_has_points_the_plan_says_what_decides(
    house: tuple[RunSpec, Settings],
) -> None:
    spec, settings = house
    pages = spec.evaluation.model_copy(update={"tasks": spec.evaluation.tasks[1:2]})
    check_suite(pages, settings=settings, progress=Silent())
    alone = spec.model_copy(update={"evaluation": pages})
    (nothing,) = plan.look_at(alone, settings, Silent())
    assert "a margin decides nothing" in nothing.found
    held = override(alone, ["verdict.margins.word_perplexity=0.3"])
    (decides,) = plan.look_at(held, settings, Silent())
    assert "verdict.margins alone decide" in decides.found
