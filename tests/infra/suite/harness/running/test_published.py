"""MMLU, C-Eval and IFEval on rows in files here: loaded as a whole, and scored as lm-eval does."""

from __future__ import annotations

from pathlib import Path

import nltk.data
import pytest

from infra.contracts.errors import TaskCodeError
from infra.contracts.progress import Silent
from infra.contracts.specs import DatasetSpec, EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.harness.suite import prepare
from tests.infra.suite.harness.completions_server import Completions, serving
from tests.infra.suite.harness.stock import assert_the_same, every, stock
from tests.published_rows import write, write_punkt


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DatasetSpec]:
    return write(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def punkt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(write_punkt(tmp_path / "nltk"))])


def in_some_way(prompt: list[int]) -> str:
    """Answer in a way that follows some instructions and not others."""
    ways = (
        "there is a cell, and there is the wall.\n\nIt has the name [one]. P.S. e",
        "* the CELL\n* the wall\n",
        '"<<Cells>>\nIt is *all* a cell."',
        "it is all there is. It is so. It is. That is all.",
    )
    return ways[len(prompt) % len(ways)]


@pytest.mark.parametrize(
    ("line", "tasks", "questions"),
    [
        (TaskSpec(name="mmlu", num_fewshot=1, limit=1), 57, 57),
        (TaskSpec(name="ceval-valid", num_fewshot=5, limit=1), 52, 52),
        (TaskSpec(name="ifeval", max_gen_toks=64), 1, 49),
    ],
    ids=lambda value: value.name if isinstance(value, TaskSpec) else "",
)
def test_scores_are_those_of_the_stock_harness(
    line: TaskSpec,
    tasks: int,
    questions: int,
    rows: dict[str, DatasetSpec],
    cache: Settings,
    tokenizer: Path,
    tmp_path: Path,
) -> None:
    spec = EvaluationSpec(tasks=(line,), datasets=rows, concurrency=8)
    suite = prepare(spec, settings=cache, progress=Silent())
    assert len(suite.parts[line.name].tasks) == tasks
    with serving(Completions(reply=in_some_way, window=9000)) as server:
        theirs = stock(suite, line.name, server, tokenizer)
        samples = tmp_path / "rows.jsonl"
        ours = suite.ask(line.name, server, tokenizer, samples, Silent())
    assert_the_same(ours, theirs)
    assert (ours.n, len(samples.read_text().splitlines())) == (questions, questions)
    value = ours.metrics[ours.primary_metric]
    assert 0 < value.value < 1 and value.unit == "points"
    assert all(one.metrics for one in every(ours))


def test_a_task_without_its_data_is_refused_before_any_model_is_asked(
    rows: dict[str, DatasetSpec], cache: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk.data, "path", [])
    spec = EvaluationSpec(tasks=(TaskSpec(name="ifeval", limit=3),), datasets=rows)
    with pytest.raises(TaskCodeError, match="ifeval needs data of NLTK that are not here"):
        prepare(spec, settings=cache, progress=Silent())
