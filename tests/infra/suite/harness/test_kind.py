"""lm-eval's tasks through the port that every kind of tasks has."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.capability import Capability, unmet
from infra.contracts.errors import EvaluationError, UnknownTask
from infra.contracts.progress import Silent
from infra.contracts.specs import EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite import kind_of
from infra.suite.metrics import Metric
from infra.suite.port import Line
from tests.infra.suite.harness.conftest import evaluation
from tests.infra.suite.harness.own_tasks import CODED, DEFINITION, NAME, own, write

BASICS = {Capability.COMPLETIONS, Capability.TOKEN_PROMPTS}


def line(spec: EvaluationSpec) -> Line:
    (task,) = spec.tasks
    return kind_of(spec).line(task, spec, settings=Settings(), progress=Silent())


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("gsm8k", None),
        ("global_mmlu_en", Capability.CHOSEN_LOGPROBS),
        ("global_mmlu_en", Capability.ECHO_LOGPROBS),
        ("wikitext", Capability.ECHO_LOGPROBS),
        ("squadv2", Capability.ECHO_LOGPROBS),  # a class of its own, which asks what it likes
    ],
)
def test_what_a_server_has_to_be_able_to_do(task: str, more: Capability | None) -> None:
    needs = line(evaluation(task)).needs
    assert bool(unmet(needs, BASICS)) == (more is not None)
    assert unmet(needs, {*BASICS, *([more] if more else [])}) == []
    assert len(unmet(needs, {Capability.CHAT})) == len(needs)


def test_a_definition_that_says_nothing_lets_the_model_write(tmp_path: Path) -> None:
    folder = write(tmp_path / "tasks", DEFINITION.replace("output_type: multiple_choice\n", ""))
    assert unmet(line(own(folder)).needs, BASICS) == []


def test_a_line_says_where_its_rows_are(tmp_path: Path) -> None:
    found = line(evaluation("global_mmlu_en"))
    assert len(found.tasks) == 6
    (source,) = found.sources
    assert (source.dataset, source.hub, source.named) == ("CohereLabs/Global-MMLU-Lite", None, True)
    assert source.find().endswith("sample/data/CohereLabs/Global-MMLU-Lite")
    assert (found.here, found.metrics, found.hub_metrics) == (True, ("acc",), ())

    (remote,) = (away := line(EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),)))).sources
    assert not away.here
    assert not remote.named
    assert remote.hub is not None
    assert (remote.hub.source, remote.hub.path) == ("huggingface", "openai/gsm8k")

    coded = DEFINITION.replace("dataset_path: json\n", "custom_dataset: !function utils.rows\n")
    unknown = line(own(write(tmp_path / "tasks", coded)))
    assert (unknown.sources, unknown.here) == ((), False)


def test_unknown_names_and_broken_code_are_found_without_rows(
    tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(UnknownTask):
        line(evaluation("gsm9k"))
    folder = write(tmp_path / "tasks", CODED, utils_py="import no_such_package\n")
    spec = own(folder)
    (error,) = kind_of(spec).faults(spec.tasks, spec, settings=settings)
    assert "no_such_package" in error.fact
    assert kind_of(spec).faults([TaskSpec(name="gsm8k")], spec, settings=settings) == []


def test_a_suite_of_other_keys_is_refused(tmp_path: Path, settings: Settings) -> None:
    spec = own(write(tmp_path / "tasks"))
    kind = kind_of(spec)
    keys = kind.keys(spec, settings=settings)
    suite = kind.prepare(spec, settings=settings, progress=Silent(), keys=keys)
    assert suite.names == (NAME,)
    assert suite.metrics(NAME) == {"acc": Metric("points", "mean", higher_is_better=True)}
    with pytest.raises(EvaluationError, match="changed while the tasks were loaded"):
        kind.prepare(spec, settings=settings, progress=Silent(), keys={NAME: "another"})


def test_texts_are_questions_in_an_order_by_chance(tmp_path: Path, settings: Settings) -> None:
    spec = own(write(tmp_path / "tasks"))
    suite = kind_of(spec).prepare(spec, settings=settings, progress=Silent())

    def texts(seed: int) -> list[str]:
        (questions,) = suite.texts(seed)
        return list(questions)

    assert texts(0) == texts(0) != texts(1)
    assert sorted(texts(0)) == [f"Question: What is {n} + 7?\nAnswer:" for n in range(11, 17)]


def test_rows_are_counted_once_a_suite_was_loaded(tmp_path: Path, settings: Settings) -> None:
    spec = own(write(tmp_path / "tasks"))
    kind = kind_of(spec)
    assert kind.row_counts(spec, settings=settings, progress=Silent()) is None
    kind.check(spec, settings=settings, progress=Silent())
    assert kind.row_counts(spec, settings=settings, progress=Silent()) == {NAME: 6}
