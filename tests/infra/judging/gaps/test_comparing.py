"""Gaps of whole runs: task by task, and over all rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import ArmResult, ChoiceGaps
from infra.judging import gaps
from infra.judging.gaps.comparing import CLOSEST
from infra.judging.pairing import RunRows
from infra.judging.statistics import BOOTSTRAP, paired_means
from tests.infra.made_runs import Row, make_row, make_run, score, write_rows

Arms = tuple[ArmResult, ArmResult]
WORTH = tuple[list[float], list[float]]
"""Of the choices of a row, in the baseline and in the candidate."""


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Arms:
    report = make_run(tmp_path_factory.mktemp("run"), rows=4)
    return report.arms["baseline"], report.arms["quantized"]


def made(
    folder: Path, arms: Arms, tasks: dict[str, list[WORTH]], metrics: dict[str, str] | None = None
) -> ChoiceGaps | None:
    """Compare made-up tasks; the first choice is right in every row.

    Args:
        folder: Of the run.
        arms: Of a made-up run, whose tasks are replaced.
        tasks: Name → what the choices of each row are worth.
        metrics: Name → its metric, where it is not `acc`.
    """
    results = []
    for place, arm in enumerate(arms):
        scores = {}
        for name, worth in tasks.items():
            metric = f"{(metrics or {}).get(name, 'acc')},none"
            rows = [_row(name, n, both[place], metric) for n, both in enumerate(worth)]
            path = f"samples/{place}/{name}.jsonl"
            write_rows(folder / path, rows)
            scores[name] = score(name, rows, path)
        results.append(arm.model_copy(update={"tasks": scores}))
    return gaps.compare(results[0], results[1], RunRows(folder), 0.95)


def _row(task: str, number: int, worth: list[float], metric: str) -> Row:
    mark = float(worth.index(max(worth)) == 0)
    answer = [[one, False] for one in worth]
    row = make_row(task, number, f"{task} {number}", 0, answer, {metric: mark}, {"n": number})
    return {**row, "continuations": [f" {letter}" for letter in "ABCD"[: len(worth)]]}


def test_a_task_by_hand(tmp_path: Path, arms: Arms) -> None:
    rows: list[WORTH] = [([0.0, -1.0 - n / 10], [0.0, -0.5 - n / 20]) for n in range(19)]
    rows.append(([-0.2, 0.0], [0.0, -0.1]))  # gained
    found = made(tmp_path, arms, {"t": rows})
    assert found is not None
    of = found.tasks["t"]
    assert (of.rows, of.left_out, of.unit, of.metric) == (20, 0, "nats", "acc,none")
    assert of.best is not None
    assert of.best.baseline.mean == pytest.approx((19 * 1.9 + 0.2) / 20)
    assert of.best.candidate.mean == pytest.approx((19 * 0.95 + 0.1) / 20)
    assert of.best.difference == pytest.approx(-(19 * 0.95 + 0.1) / 20)
    assert of.best.baseline.quantiles[0] == pytest.approx(0.2)
    assert of.best.baseline.quantiles[1] == pytest.approx(0.2)  # 5 % of 20 rows are one
    assert of.best.baseline.quantiles[-1] == pytest.approx(2.8)
    assert of.best.baseline.median == pytest.approx(1.8)
    differences = [-0.5 - n / 20 for n in range(19)] + [-0.1]
    assert (of.best.low, of.best.high) == pytest.approx(paired_means(differences))
    assert of.best.method == BOOTSTRAP
    assert of.right is not None
    assert of.right.baseline.quantiles[0] == pytest.approx(-0.2)
    assert of.right.difference == pytest.approx((-19 * 0.95 + 0.3) / 20)
    assert of.slope == pytest.approx(0.5, abs=0.01)
    assert of.flips is not None
    assert of.changed is not None
    assert (of.flips.seen, of.changed.seen, of.flips.rows) == (1, 1, 20)
    assert of.closest[0].model_dump() == {
        "task": "t", "doc_id": 19, "baseline": pytest.approx(0.2),
        "candidate": pytest.approx(-0.1), "chance": of.closest[0].chance, "outcome": "gained",
    }  # fmt: skip
    assert found.whole.model_dump() == of.model_dump(exclude={"metric", "slope", "closest"})


def test_an_interval_of_nats_knows_no_bounds(tmp_path: Path, arms: Arms) -> None:
    """Tango's care for rows that lose all of 1 is for scores alone, wherever gaps happen to lie."""
    rows: list[WORTH] = [([0.0, -0.3 - n / 100], [0.0, -0.2 - n / 80]) for n in range(40)]
    found = made(tmp_path, arms, {"t": rows})
    assert found is not None
    assert found.whole.best is not None
    assert found.whole.best.method == BOOTSTRAP


def test_all_rows_count_once_each(tmp_path: Path, arms: Arms) -> None:
    small: list[WORTH] = [([0.0, -1.0 - n], [0.0, -2.0 - n]) for n in range(12)]
    large: list[WORTH] = [([0.0, -2.0 - n], [0.0, -1.0 - n]) for n in range(24)]
    found = made(tmp_path, arms, {"small": small, "large": large})
    assert found is not None
    assert found.whole.best is not None
    assert (found.whole.rows, found.whole.unit) == (36, "nats")
    assert found.whole.best.difference == pytest.approx((12 - 24) / 36)
    parts = [of.flips for of in found.tasks.values()]
    assert found.whole.flips is not None
    assert found.whole.flips.predicted == pytest.approx(sum(p.predicted for p in parts if p))


def test_units_are_not_mixed(tmp_path: Path, arms: Arms) -> None:
    rows: list[WORTH] = [([0.0, -1.0 - n], [0.0, -2.0 - n]) for n in range(12)]
    found = made(tmp_path, arms, {"one": rows, "other": rows}, {"other": "acc_norm"})
    assert found is not None
    assert [of.unit for of in found.tasks.values()] == ["nats", "nats per character"]
    assert (found.whole.unit, found.whole.best, found.whole.right) == ("", None, None)
    assert found.whole.flips is not None
    assert found.whole.flips.rows == 24


def test_tasks_without_choices_are_not_there(tmp_path: Path, arms: Arms) -> None:
    found = make_run(tmp_path, rows=12, with_gaps=True).pairs[0].comparison.gaps
    assert found is not None
    assert [*found.tasks] == ["global_mmlu_en", "gpqa_main_zeroshot"]
    rows: list[WORTH] = [([0.0, -1.0], [0.0, -2.0])] * 12
    assert made(tmp_path, arms, {"t": rows}, {"t": "exact_match"}) is None


def test_beside_a_loss_the_gap_is_that_of_the_best_choice(tmp_path: Path, arms: Arms) -> None:
    """As of preferences, which are judged by the probability of the right letter."""
    results = []
    for place, arm in enumerate(arms):
        rows = [_row("t", n, [0.0, -1.0 - n * (1 + place)], "acc,none") for n in range(12)]
        for row in rows:
            row["metrics"] = {"acc,none": 1.0, "log_loss,none": 0.1 * place}
        write_rows(tmp_path / f"{place}.jsonl", rows)
        scores = score("t", rows, f"{place}.jsonl")
        assert scores.primary_metric == "log_loss,none"
        results.append(arm.model_copy(update={"tasks": {"t": scores}}))
    found = gaps.compare(results[0], results[1], RunRows(tmp_path), 0.95)
    assert found is not None
    assert (found.tasks["t"].metric, found.tasks["t"].rows) == ("acc,none", 12)


def test_the_closest_rows_are_few_and_the_likeliest(tmp_path: Path, arms: Arms) -> None:
    def noisy(n: int) -> WORTH:
        push = (-1) ** n * (n % 7) / 4
        return [0.0, -n / 10], [push, -n / 10]

    found = made(tmp_path, arms, {"t": [noisy(n) for n in range(60)]})
    assert found is not None
    closest = found.tasks["t"].closest
    assert len(closest) == CLOSEST
    assert {row.doc_id for row in closest[:3]} <= set(range(4))
    shown = [row.chance for row in closest]
    assert shown == sorted(shown, key=lambda one: -(one or 0))
    assert max(row.baseline for row in closest) < 3.0


def test_too_few_rows_predict_nothing(tmp_path: Path, arms: Arms) -> None:
    rows: list[WORTH] = [([0.0, -1.0 - n], [0.0, -2.0 - 2 * n]) for n in range(9)]
    found = made(tmp_path, arms, {"t": rows})
    assert found is not None
    of = found.tasks["t"]
    assert (of.flips, of.changed, of.slope) == (None, None, None)
    assert of.best is not None
    assert of.best.low is None
    assert of.best.method.startswith("none: ")
    assert [row.doc_id for row in of.closest] == [*range(9)]


def test_it_is_read_back_as_it_was(tmp_path: Path, arms: Arms) -> None:
    found: Any = made(tmp_path, arms, {"t": [([0.0, -1.0 - n], [0.0, -2.0]) for n in range(12)]})
    assert ChoiceGaps.model_validate(json.loads(found.model_dump_json())) == found
