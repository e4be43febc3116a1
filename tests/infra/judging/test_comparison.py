"""Rows are joined or refused, and compared task by task and all together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import ComparisonError
from infra.contracts.records import (
    ArmResult,
    Comparison,
    MetricComparison,
    MetricValue,
    TaskScores,
)
from infra.contracts.specs import VerdictSpec
from infra.judging.comparison import compare, decisive, effect
from infra.judging.pairing import RunRows
from infra.judging.statistics import TANGO, PairedCounts, paired_proportions
from infra.judging.verdict import decide
from infra.suite import rows as suite_rows
from infra.suite.harness.running import samples
from tests.infra.made_runs import (
    GROUP,
    SUBJECTS,
    Row,
    make_row,
    make_run,
    score,
    write_rows,
)

Change = Callable[[list[Row]], None]


@pytest.fixture
def arms(tmp_path: Path) -> tuple[ArmResult, ArmResult]:
    report = make_run(tmp_path, rows=36)
    return report.arms["baseline"], report.arms["quantized"]


def _task(arm: ArmResult, name: str, **changes: Any) -> ArmResult:
    tasks = {**arm.tasks, name: arm.tasks[name].model_copy(update=changes)}
    return arm.model_copy(update={"tasks": tasks})


def _edit(folder: Path, scores: TaskScores, change: Change) -> None:
    path = folder / scores.samples
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    write_rows(path, rows)


def _arms_of(
    folder: Path, arms: tuple[ArmResult, ArmResult], baseline: list[Row], other: list[Row]
) -> Comparison:
    """Compare two made-up lists of rows of one task."""
    results = []
    for arm, rows in zip(arms, (baseline, other), strict=True):
        path = f"samples/{'baseline' if arm is arms[0] else 'candidate'}/t.jsonl"
        write_rows(folder / path, rows)
        results.append(arm.model_copy(update={"tasks": {"t": score("t", rows, path)}}))
    return compare(results[0], results[1], RunRows(folder))


def _rows(
    values: list[float], answers: list[Any] | None = None, metric: str = "f1,none"
) -> list[Row]:
    return [
        make_row("t", n, f"Question {n}", "x", (answers or values)[n], {metric: value}, {"n": n})
        for n, value in enumerate(values)
    ]


def test_counts_and_interval(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    baseline = _rows([1.0] * 32 + [0.0] * 18, ["a"] * 50, "acc,none")
    other = _rows(
        [1.0] * 20 + [0.0] * 12 + [1.0] * 2 + [0.0] * 16, ["a"] * 45 + ["b"] * 5, "acc,none"
    )
    metric = _arms_of(tmp_path, arms, baseline, other).metrics[0]
    assert (metric.low, metric.high) == paired_proportions(PairedCounts(20, 2, 12, 16))
    assert metric.difference == pytest.approx(-0.2)
    assert metric.p_value == pytest.approx(0.0129, abs=5e-5)
    assert (metric.pairs, metric.lost, metric.gained) == (50, 12, 2)
    assert metric.changed == 12 + 2 + 5
    assert metric.unit == "points"
    assert metric.method == TANGO


def test_lower_is_better(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    baseline, other = _rows([2.0, 3.0] * 10), _rows([2.5, 3.1, 1.9, 3.1] * 5)
    results = []
    for arm, name, rows in zip(arms, ("b", "q"), (baseline, other), strict=True):
        write_rows(tmp_path / f"{name}.jsonl", rows)
        scores = score("t", rows, f"{name}.jsonl")
        value = scores.metrics["f1,none"].model_copy(update={"higher_is_better": False})
        scores = scores.model_copy(update={"metrics": {"f1,none": value}})
        results.append(arm.model_copy(update={"tasks": {"t": scores}}))
    comparison = compare(results[0], results[1], RunRows(tmp_path))
    metric = comparison.metrics[0]
    assert (metric.lost, metric.gained) == (15, 5)
    assert metric.low is not None
    assert metric.low > 0  # more, and so worse
    assert metric.unit == "value"
    assert metric.p_value is None
    assert effect(metric) == "loss"
    assert comparison.pooled is None  # nothing in points
    assert metric.recovery is None


def test_group_is_pooled_and_taken_apart(tmp_path: Path) -> None:
    found = make_run(tmp_path, rows=90).pairs[0].comparison
    whole = [m for m in found.metrics if m.task == GROUP]
    parts = [m for m in found.metrics if m.subtask_of == GROUP]
    assert [m.pairs for m in whole] == [90]
    assert {m.task for m in parts} == {f"{GROUP}_{subject}" for subject in SUBJECTS}
    assert sum(m.pairs for m in parts) == 90
    assert sum(m.lost for m in parts) == whole[0].lost
    assert whole[0].difference == pytest.approx((whole[0].gained - whole[0].lost) / 90)
    assert {m.task for m in decisive(found)} == {"gsm8k", GROUP, "gpqa_main_zeroshot"}
    assert found.size_ratio == pytest.approx(0.3657, abs=1e-4)


def test_a_score_that_is_no_mean_of_rows_has_no_interval(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    baseline, candidate = arms
    value = candidate.tasks["gsm8k"].metrics["exact_match,strict-match"]
    metrics = {
        **candidate.tasks["gsm8k"].metrics,
        "exact_match,strict-match": value.model_copy(update={"value": value.value + 1e-3}),
    }
    comparison = compare(baseline, _task(candidate, "gsm8k", metrics=metrics), RunRows(tmp_path))
    metric = comparison.metrics[0]
    assert (metric.task, metric.low, metric.high, metric.p_value) == ("gsm8k", None, None, None)
    assert "not the mean" in metric.method
    assert metric.p_adjusted is None
    assert comparison.pooled is not None
    assert comparison.pooled.tasks == (GROUP, "gpqa_main_zeroshot")


def test_rows_without_a_number_have_no_interval(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    def bleu(rows: list[Row]) -> None:
        for row in rows:
            row["metrics"]["exact_match,strict-match"] = ["reference", "answer"]

    for arm in arms:
        _edit(tmp_path, arm.tasks["gsm8k"], bleu)
    metric = compare(*arms, RunRows(tmp_path)).metrics[0]
    assert metric.low is None
    assert metric.unit == "value"
    assert (metric.lost, metric.gained) == (0, 0)


@pytest.mark.parametrize("same", [True, False])
def test_a_metric_of_some_rows_is_compared_on_these(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], same: bool
) -> None:
    """A mark that a third of the rows has, as of questions whose passages were missed."""
    results = []
    for arm, wrong in zip(arms, (2, 7), strict=True):
        rows = _rows([1.0] * 90, metric="right,none")
        path = f"samples/{'baseline' if arm is arms[0] else 'candidate'}/t.jsonl"
        scores = score("t", rows, path)
        first = 0 if same or arm is arms[0] else 1
        carrying = range(first, 90, 3)
        for number, place in enumerate(carrying):
            rows[place]["metrics"]["part,none"] = float(number >= wrong)
        write_rows(tmp_path / path, rows)
        part = MetricValue(value=1 - wrong / 30, stderr=None, n=len(carrying), unit="points",
                           aggregation="mean")  # fmt: skip
        scores = scores.model_copy(update={"metrics": {**scores.metrics, "part,none": part}})
        results.append(arm.model_copy(update={"tasks": {"t": scores}}))
    found = {one.metric: one for one in compare(results[0], results[1], RunRows(tmp_path)).metrics}
    whole, part_of_it = found["right,none"], found["part,none"]
    assert whole.pairs == 90
    assert (part_of_it.pairs, part_of_it.low is not None) == ((30, True) if same else (90, False))
    if same:
        assert (part_of_it.lost, part_of_it.gained) == (5, 0)
        assert part_of_it.low is not None and part_of_it.high is not None
        assert part_of_it.low < -5 / 30 < part_of_it.high


def test_identical_arms(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    baseline, _ = arms
    comparison = compare(baseline, baseline, RunRows(tmp_path))
    for metric in comparison.metrics:
        assert (metric.difference, metric.lost, metric.gained, metric.changed) == (0, 0, 0, 0)
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low < 0 < metric.high  # the rows could have differed
    assert comparison.pooled is not None
    assert comparison.pooled.flip_rate == 0
    assert comparison.pooled.low < comparison.pooled.bound < 0 < comparison.pooled.high


def test_all_tasks_together(tmp_path: Path) -> None:
    comparison = make_run(tmp_path, rows=90).pairs[0].comparison
    tasks, pooled = decisive(comparison), comparison.pooled
    assert pooled is not None
    assert pooled.tasks == tuple(task.task for task in tasks)
    assert pooled.rows == 270
    assert pooled.flip_rate == sum(task.lost + task.gained for task in tasks) / 270
    assert pooled.difference == pytest.approx(
        sum(task.gained - task.lost for task in tasks) / 270, abs=1e-12
    )
    below = sum((task.difference - (task.low or 0.0)) ** 2 for task in tasks) ** 0.5 / 3
    assert pooled.low == pytest.approx(pooled.difference - below, abs=1e-12)
    assert pooled.low < pooled.bound < pooled.difference < pooled.high


def test_p_values_are_adjusted_over_the_tasks(tmp_path: Path) -> None:
    metrics = make_run(tmp_path, rows=90).pairs[0].comparison.metrics
    tasks = [metric for metric in metrics if metric.primary and metric.subtask_of is None]
    worst = min(tasks, key=lambda metric: metric.p_value or 1.0)
    assert worst.p_adjusted == pytest.approx(3 * (worst.p_value or 1.0))
    assert all(metric.p_adjusted is None for metric in metrics if metric not in tasks)


def test_lower_is_better_counts_as_a_loss_in_all(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    baseline, other = _rows([0.0] * 40), _rows([1.0] * 10 + [0.0] * 30)
    results = []
    for arm, name, rows in zip(arms, ("b", "q"), (baseline, other), strict=True):
        write_rows(tmp_path / f"{name}.jsonl", rows)
        scores = score("t", rows, f"{name}.jsonl")
        value = scores.metrics["f1,none"].model_copy(update={"higher_is_better": False})
        scores = scores.model_copy(update={"metrics": {"f1,none": value}})
        results.append(arm.model_copy(update={"tasks": {"t": scores}}))
    comparison = compare(results[0], results[1], RunRows(tmp_path))
    assert comparison.pooled is not None
    assert comparison.pooled.difference == pytest.approx(-0.25)
    assert comparison.pooled.high < 0
    assert comparison.metrics[0].difference == pytest.approx(0.25)


def test_the_same_questions_in_two_tasks_are_one_evidence(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    baseline, candidate = arms
    alone = compare(baseline, candidate, RunRows(tmp_path))
    name = "gpqa_main_zeroshot"
    twice = [
        arm.model_copy(update={"tasks": {
            name: arm.tasks[name],
            "gpqa_main_n_shot": arm.tasks[name].model_copy(update={"name": "gpqa_main_n_shot"}),
        }})
        for arm in arms
    ]  # fmt: skip
    pooled = compare(*twice, RunRows(tmp_path)).pooled
    single = next(metric for metric in alone.metrics if metric.task == name)
    assert pooled is not None
    assert pooled.rows == 2 * single.pairs
    assert (pooled.low, pooled.high) == pytest.approx((single.low, single.high), abs=1e-12)


@pytest.mark.parametrize("column", ["Question", "query", "problem"])
def test_the_same_questions_in_other_documents_are_one_evidence(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], column: str
) -> None:
    """Each of gpqa's tasks shuffles the choices in its own way."""

    def made_rows(task: str, right: int, doc: Row, text: str) -> list[Row]:
        return [
            make_row(task, n, f"{task} {n}", "x", "x", {"f1,none": float(n < right)},
                     {column: text.format(n), **doc})
            for n in range(50)
        ]  # fmt: skip

    def together(text: str) -> Comparison:
        results = []
        for arm, right in zip(arms, (30, 28), strict=True):
            tasks = {}
            for task, words in (("zeroshot", "Which is\n number {}?"), ("cot", text)):
                rows = made_rows(task, right, {"choices": [task]}, words)
                path = f"{arm is arms[0]}-{task}.jsonl"
                write_rows(tmp_path / path, rows)
                tasks[task] = score(task, rows, path)
            results.append(arm.model_copy(update={"tasks": tasks}))
        return compare(results[0], results[1], RunRows(tmp_path))

    same, other = together("Which is number {}? "), together("Which is not number {}?")
    task = same.metrics[0]
    assert same.pooled is not None
    assert other.pooled is not None
    assert (same.pooled.low, same.pooled.high) == pytest.approx((task.low, task.high), abs=1e-12)
    assert other.pooled.low > same.pooled.low


def test_a_hair_above_one_is_one(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    baseline, other = _rows([1.0] * 40), _rows([1.0000000002, -1e-12, *[1.0] * 38])
    metric = _arms_of(tmp_path, arms, baseline, other).metrics[0]
    assert (metric.unit, metric.method) == ("points", TANGO)
    assert (metric.lost, metric.gained) == (1, 0)
    assert metric.low == paired_proportions(PairedCounts(39, 0, 1, 0))[0]


@pytest.mark.parametrize("value", [1.00001, 1.01, -0.5, 7.0])
def test_a_row_that_breaks_what_is_declared_is_named_and_never_dropped_in_silence(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], value: float
) -> None:
    baseline, other = _rows([1.0] * 40), _rows([value, *[1.0] * 39])
    found = _arms_of(tmp_path, arms, baseline, other)
    metric = found.metrics[0]
    assert metric.breach.startswith(f"document 0 of t scores {value:g} in the candidate")
    assert (metric.unit, found.pooled) == ("value", None)
    verdict = decide(found, VerdictSpec(), what="Quantization")
    assert verdict.status == "INCONCLUSIVE"
    assert metric.breach in " ".join(verdict.reasons)
    assert "metadata.units" in verdict.needed
    assert _arms_of(tmp_path, arms, baseline, _rows([1.0] * 40)).metrics[0].breach == ""


def test_a_pass_over_other_tasks_says_nothing_of_one_that_breaks_what_is_declared(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    wide = VerdictSpec(margin_points=40, task_margin_points=50)
    assert (
        decide(compare(arms[0], arms[0], RunRows(tmp_path)), wide, what="Quantization").status
        == "PASS"
    )

    def beyond(rows: list[Row]) -> None:
        rows[7]["metrics"]["exact_match,strict-match"] = 1.01

    name, metric = "gsm8k", "exact_match,strict-match"
    _edit(tmp_path, arms[0].tasks[name], beyond)
    found = compare(arms[0], arms[0], RunRows(tmp_path))
    assert found.pooled is not None
    assert name not in found.pooled.tasks
    verdict = decide(found, wide, what="Quantization")
    assert verdict.status == "INCONCLUSIVE"
    assert f"document 7 of {name} scores 1.01" in verdict.headline
    assert metric.partition(",")[0] in verdict.headline


@pytest.mark.parametrize("metric", ["brier_score,none", "house_loss,none", "nll,none", "wer,none"])
def test_a_loss_has_no_points_however_small_it_is(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], metric: str
) -> None:
    baseline = _rows([0.1, 0.4] * 20, metric=metric)
    other = _rows([0.2, 0.4, 0.1, 0.6] * 10, metric=metric)
    found = _arms_of(tmp_path, arms, baseline, other)
    assert (found.metrics[0].unit, found.pooled, found.metrics[0].chance) == ("value", None, None)
    assert found.metrics[0].low is not None


@pytest.mark.parametrize("declared", [(0, 1), (0,), (1,)])
def test_a_unit_that_is_declared_counts_in_whichever_arm(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], declared: tuple[int, ...]
) -> None:
    rows = [_rows([0.0, 1.0] * 20, metric="house_score,none") for _ in range(2)]
    pair = []
    for place, (arm, own) in enumerate(zip(arms, rows, strict=True)):
        write_rows(tmp_path / f"{place}.jsonl", own)
        scores = score("t", own, f"{place}.jsonl")
        if place in declared:
            scores = _declared(scores, unit="points", aggregation="mean")
        pair.append(arm.model_copy(update={"tasks": {"t": scores}}))
    found = compare(pair[0], pair[1], RunRows(tmp_path))
    assert found.metrics[0].unit == "points"
    assert found.pooled is not None


def _declared(scores: TaskScores, **changes: Any) -> TaskScores:
    metrics = {key: value.model_copy(update=changes) for key, value in scores.metrics.items()}
    return scores.model_copy(update={"metrics": metrics})


def test_a_score_of_all_rows_together_is_no_mean_even_where_it_equals_one(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    pair = []
    for place, arm in enumerate(arms):
        rows = _rows([1.0] * 40)
        write_rows(tmp_path / f"{place}.jsonl", rows)
        scores = _declared(score("t", rows, f"{place}.jsonl"), unit="points", aggregation="corpus")
        pair.append(arm.model_copy(update={"tasks": {"t": scores}}))
    metric = compare(pair[0], pair[1], RunRows(tmp_path)).metrics[0]
    assert metric.low is None
    assert "by its definition" in metric.method


@pytest.mark.parametrize(("field", "one", "other"), [
    ("unit", "points", "value"), ("aggregation", "mean", "corpus"),
    ("higher_is_better", True, False),
])  # fmt: skip
def test_arms_that_declare_a_metric_in_other_ways_are_refused(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], field: str, one: object, other: object
) -> None:
    baseline, candidate = (
        _task(arm, "gsm8k", metrics=_declared(arm.tasks["gsm8k"], **{field: value}).metrics)
        for arm, value in zip(arms, (one, other), strict=True)
    )
    with pytest.raises(ComparisonError, match=f"gsm8k differs in {field} of exact_match"):
        compare(baseline, candidate, RunRows(tmp_path))


@pytest.mark.parametrize(("right", "status"), [(0.5, "INCONCLUSIVE"), (0.95, "PASS")])
@pytest.mark.parametrize("keys", ["ABCB", ["yes", "no"], ["(A)", "B", "(C)", "b."]])
def test_who_guesses_at_written_labels_shows_no_loss(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], right: float, status: str, keys: list[str]
) -> None:
    rows = [
        make_row("t", n, f"Question {n}", key, [key],
                 {"exact_match,none": float(n % 20 < 20 * right)}, {"question": f"q{n}"})
        for n, key in enumerate(list(keys) * 100)
    ]  # fmt: skip
    found = _arms_of(tmp_path, arms, rows, rows)
    assert found.metrics[0].chance == 0.5
    verdict = decide(found, VerdictSpec(margin_points=3, task_margin_points=5), what="Quantization")
    assert verdict.status == status


def test_who_always_takes_the_same_choice_shows_no_loss(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    """However many rows happen to have it for the right answer: here 26 of 72."""

    def same(n: int, key: str) -> Row:
        answer = [[0.0 if letter == "B" else -1.0, letter == "B"] for letter in "ABCD"]
        return make_row("t", n, f"Question {n}", key, answer, {"acc,none": float(key == "B")},
                        {"question": f"q{n}"})  # fmt: skip

    rows = [same(n, key) for n, key in enumerate("B" * 26 + "A" * 17 + "C" * 15 + "D" * 14)]
    found = _arms_of(tmp_path, arms, rows, rows)
    assert (found.metrics[0].chance, found.metrics[0].luck) == (0.25, 1.0)
    verdict = decide(
        found, VerdictSpec(margin_points=50, task_margin_points=60), what="Quantization"
    )
    assert verdict.status == "INCONCLUSIVE"
    assert "dealt out by lot" in " ".join(verdict.reasons)


def test_subjects_are_clusters(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    baseline, other = _rows([1.0] * 60), _rows([0.0] * 6 + [1.0] * 54)
    for rows in (baseline, other):
        for number, row in enumerate(rows):
            row["doc"]["subject"] = f"subject {number // 5}"
    metric = _arms_of(tmp_path, arms, baseline, other).metrics[0]
    assert metric.clusters == 12
    for row in (*baseline, *other):
        row["doc"]["subject"] = "one"
    alone = _arms_of(tmp_path, arms, baseline, other).metrics[0]
    assert alone.clusters is None
    assert metric.low is not None
    assert alone.low is not None
    assert metric.low < alone.low


def test_above_chance(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    comparison = compare(*arms, RunRows(tmp_path))
    for metric in decisive(comparison):
        baseline, candidate = metric.baseline.value, metric.candidate.value
        guess = 0.0 if metric.task == "gsm8k" else 0.25
        assert metric.chance == guess
        assert metric.recovery == pytest.approx(candidate / baseline)
        assert metric.recovery_above_chance == pytest.approx(
            (candidate - guess) / (baseline - guess)
        )


def test_another_confidence(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    usual, less = compare(*arms, RunRows(tmp_path)), compare(*arms, RunRows(tmp_path), 0.8)
    assert usual.pooled is not None
    assert less.pooled is not None
    assert less.pooled.confidence == less.metrics[0].confidence == 0.8
    assert usual.pooled.low < less.pooled.low
    assert usual.pooled.bound < less.pooled.bound


@pytest.mark.parametrize(("field", "value"), [
    ("limit", 10), ("max_gen_toks", 64), ("chat_template", True), ("fewshot_as_multiturn", True),
    ("system_instruction", "Be brief."), ("seed", 7),
])  # fmt: skip
def test_rows_of_other_conditions_are_refused(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], field: str, value: object
) -> None:
    alike = {
        "limit": None, "max_gen_toks": None, "chat_template": False,
        "fewshot_as_multiturn": False, "system_instruction": None, "seed": 1234,
    }  # fmt: skip
    baseline = _task(arms[0], "gsm8k", conditions=alike)
    compare(baseline, _task(arms[1], "gsm8k", conditions=alike), RunRows(tmp_path))
    compare(baseline, arms[1], RunRows(tmp_path))  # scores kept by an earlier version
    other = _task(arms[1], "gsm8k", conditions={**alike, field: value}, n=10)
    with pytest.raises(ComparisonError, match=f"gsm8k differs in {field}: ") as refused:
        compare(baseline, other, RunRows(tmp_path))
    assert refused.value.field == field


def test_twin_documents_are_paired_in_turn(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    baseline, other = _rows([1.0, 0.0]), _rows([0.0, 0.0])
    for rows in (baseline, other):
        for field in ("doc_hash", "prompt_hash", "target_hash"):
            rows[1][field] = rows[0][field]
    metric = _arms_of(tmp_path, arms, baseline, other).metrics[0]
    assert (metric.pairs, metric.lost, metric.gained) == (2, 1, 0)


@pytest.mark.parametrize("field", ["version", "num_fewshot", "n", "primary_metric", "questions"])
def test_other_conditions_are_refused(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], field: str
) -> None:
    baseline, candidate = arms
    other = 99 if field in ("num_fewshot", "n") else "other"
    with pytest.raises(ComparisonError) as refused:
        compare(baseline, _task(candidate, "gsm8k", **{field: other}), RunRows(tmp_path))
    assert refused.value.task == "gsm8k"
    assert refused.value.field == field
    assert f"gsm8k differs in {field}" in str(refused.value)


def test_subtask_of_another_version_is_refused(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    baseline, candidate = arms
    subtasks = dict(candidate.tasks[GROUP].subtasks)
    name = f"{GROUP}_stem"
    subtasks[name] = subtasks[name].model_copy(update={"version": "2.0"})
    with pytest.raises(ComparisonError, match=f"{name} differs in version"):
        compare(baseline, _task(candidate, GROUP, subtasks=subtasks), RunRows(tmp_path))


@pytest.mark.parametrize("field", ["doc_hash", "prompt_hash", "target_hash"])
def test_another_row_is_refused(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], field: str
) -> None:
    _edit(tmp_path, arms[1].tasks["gsm8k"], lambda rows: rows[7].update({field: "f" * 64}))
    with pytest.raises(ComparisonError, match=f"gsm8k differs in {field} of document 7") as refused:
        compare(*arms, RunRows(tmp_path))
    assert refused.value.field == field


def _with_tokenizer(arm: ArmResult, tokenizer: str, **conditions: Any) -> ArmResult:
    """Return an arm whose prompts a tokenizer wrote."""
    tasks = {
        name: scores.model_copy(update={"tokenizer": tokenizer, "conditions": conditions})
        for name, scores in arm.tasks.items()
    }
    return arm.model_copy(update={"tasks": tasks})


def _in_other_words(rows: list[Row]) -> None:
    for row in rows[:5]:
        row.update(prompt=f"<user> {row['prompt']}", prompt_hash="f" * 63 + str(row["doc_id"]))


def test_the_same_questions_in_other_words_are_compared_where_tokenizers_differ(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    as_before = compare(*arms, RunRows(tmp_path))
    _edit(tmp_path, arms[1].tasks["gsm8k"], _in_other_words)
    other = _task(arms[1], "gsm8k", questions="of other prompts")
    found = compare(
        _with_tokenizer(arms[0], "one"), _with_tokenizer(other, "another"), RunRows(tmp_path)
    )
    assert found.prompts_differ == {"gsm8k": 5, GROUP: 0, "gpqa_main_zeroshot": 0}
    assert found.metrics == as_before.metrics
    assert found.pooled == as_before.pooled
    for one, another in (("one", "one"), ("", "another"), ("one", "")):  # the same, or not known
        with pytest.raises(ComparisonError, match="gsm8k differs in prompt_hash of document 0"):
            compare(
                _with_tokenizer(arms[0], one), _with_tokenizer(other, another), RunRows(tmp_path)
            )


@pytest.mark.parametrize("field", ["doc_hash", "target_hash"])
def test_another_question_is_refused_whoever_wrote_the_prompts(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], field: str
) -> None:
    def change(rows: list[Row]) -> None:
        _in_other_words(rows)
        rows[3].update({field: "f" * 64})

    _edit(tmp_path, arms[1].tasks["gsm8k"], change)
    with pytest.raises(ComparisonError, match=f"gsm8k differs in {field} of document 3"):
        compare(
            _with_tokenizer(arms[0], "one"), _with_tokenizer(arms[1], "another"), RunRows(tmp_path)
        )


def test_a_tokenizer_decides_how_its_prompts_begin_and_no_other_condition(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    plain = {"prompts_begin_with": "no BOS", "seed": 1234}
    own = {**plain, "prompts_begin_with": "<s>"}
    one = _with_tokenizer(arms[0], "one", **plain)
    compare(one, _with_tokenizer(arms[1], "another", **own), RunRows(tmp_path))
    with pytest.raises(ComparisonError, match="differs in prompts_begin_with"):
        compare(one, _with_tokenizer(arms[1], "one", **own), RunRows(tmp_path))
    with pytest.raises(ComparisonError, match="differs in seed"):
        compare(one, _with_tokenizer(arms[1], "another", **{**own, "seed": 1}), RunRows(tmp_path))


@pytest.mark.parametrize(("arm", "change", "message"), [
    (0, lambda rows: rows[3].update(doc_id=999, doc_hash="0"), "in rows .document 999.: present"),
    (1, lambda rows: rows.pop(), "holds 35 rows, but gsm8k was scored on 36"),
    (0, lambda rows: rows[3].pop("target"), "Line 4 of .* is not a row of gsm8k: KeyError..target"),
])  # fmt: skip
def test_rows_cut_or_changed_are_refused(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult], arm: int, change: Change, message: str
) -> None:
    _edit(tmp_path, arms[arm].tasks["gsm8k"], change)
    with pytest.raises(ComparisonError, match=message):
        compare(*arms, RunRows(tmp_path))


def test_half_a_line_is_refused(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    path = tmp_path / arms[0].tasks["gsm8k"].samples
    path.write_text(path.read_text()[:-200])
    with pytest.raises(ComparisonError, match=r"Line 36 of .* is not a row of gsm8k"):
        compare(*arms, RunRows(tmp_path))


def test_missing_samples_are_refused(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    (tmp_path / arms[0].tasks["gsm8k"].samples).unlink()
    with pytest.raises(ComparisonError, match="cannot be read"):
        compare(*arms, RunRows(tmp_path))


def test_rows_as_the_evaluation_writes_them(
    tmp_path: Path, arms: tuple[ArmResult, ArmResult]
) -> None:
    """What lm-eval logs, once a filter, becomes rows that are joined and read."""

    def logged(text: str, filter_name: str, right: float) -> dict[str, Any]:
        return {
            "doc_id": 0, "doc": {"question": "1 + 1?"}, "target": "2", "filter": filter_name,
            "arguments": [("Q: 1 + 1?\nA:", {"until": ["Q:"]})], "resps": [[text]],
            "filtered_resps": [text[-1:]], "metrics": ["exact_match"], "exact_match": right,
            "doc_hash": "d", "prompt_hash": "p", "target_hash": "t",
        }  # fmt: skip

    def chosen(likelihoods: list[float], right: float) -> dict[str, Any]:
        return {
            **logged("", "none", right),
            "arguments": [("Q: 1 + 1?\nA:", f" {letter}") for letter in "AB"],
            "resps": [[(x, False)] for x in likelihoods],
            "filtered_resps": [(x, False) for x in likelihoods],
        }  # fmt: skip

    def metric_of(baseline: list[dict[str, Any]], other: list[dict[str, Any]]) -> MetricComparison:
        rows = []
        for logs in (baseline, other):
            suite_rows.write_rows(tmp_path / "t.jsonl", samples.sample_rows({"t": logs}))
            rows.append(
                [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
            )
        return _arms_of(tmp_path, arms, *rows).metrics[0]

    filters = ("strict-match", "flexible-extract")
    generated = metric_of(
        [logged("is 2", name, 1.0) for name in filters],
        [logged("is 3", name, 0.0) for name in filters],
    )
    assert (generated.lost, generated.gained, generated.changed) == (1, 0, 1)
    # Likelihoods always differ; the answer is the likelier choice.
    assert metric_of([chosen([-1.0, -2.0], 1.0)], [chosen([-1.5, -1.6], 1.0)]).changed == 0
    assert metric_of([chosen([-1.0, -2.0], 1.0)], [chosen([-1.7, -1.6], 1.0)]).changed == 1


def test_other_tasks_are_refused(tmp_path: Path, arms: tuple[ArmResult, ArmResult]) -> None:
    baseline, candidate = arms
    fewer = candidate.model_copy(update={"tasks": {"gsm8k": candidate.tasks["gsm8k"]}})
    with pytest.raises(ComparisonError, match="asked different tasks"):
        compare(baseline, fewer, RunRows(tmp_path))
