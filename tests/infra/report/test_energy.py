from __future__ import annotations

from typing import Any

import pytest

from infra.contracts.records import MetricValue, Report, TaskScores
from infra.report import energy, prose, ranking, tables
from tests.infra.made_records import with_everything
from tests.infra.made_runs import GROUP, make_run


def scores(name: str = "gsm8k", *, right: float = 0.5, n: int = 200, **fields: Any) -> TaskScores:
    metric = fields.pop("metric", "acc,none")
    value = MetricValue(value=right, stderr=None, n=n, **fields.pop("declared", {}))
    return TaskScores.model_validate({
        "name": name, "metrics": {metric: value}, "primary_metric": metric, "n": n,
        "num_fewshot": 0, "version": "1", "dataset": "d", "questions": "q", "samples": "s",
        "seconds": 1.0, "joules": 5_000.0, **fields,
    })  # fmt: skip


def test_a_right_answer_costs_what_all_rows_cost_over_those_that_are_right() -> None:
    assert energy.per_right(scores()) == 5_000 / 100


@pytest.mark.parametrize(
    "fields",
    [
        {"joules": None},
        {"reused": True},
        {"right": 0.0},
        {"metric": "perplexity,none"},
        {"declared": {"aggregation": "corpus"}},
        {"declared": {"unit": "points", "higher_is_better": False}},
        {"primary_metric": "gone"},
    ],
)
def test_what_nobody_can_tell_is_left_out(fields: dict[str, Any]) -> None:
    assert energy.per_right(scores(**fields)) is None


def test_a_group_counts_the_rows_of_its_parts() -> None:
    """Its own score may weigh them otherwise."""
    parts = {"a": scores("a", right=0.9, n=10), "b": scores("b", right=0.5, n=182)}
    group = scores("ab", right=0.7, n=192, subtasks=parts)
    assert energy.per_right(group) == 5_000 / (9 + 91)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return with_everything(make_run(tmp_path_factory.mktemp("run"), rows=120))


def told(report: Report, *arms: str, **joules: float | None) -> Report:
    """Return a report whose arms took so many joules for each task, and 1,000 for each point."""
    changed = dict(report.arms)
    for arm in arms:
        tasks = {
            name: task.model_copy(update={"joules": joules.get(name, 6_000.0), "reused": False})
            for name, task in report.arms[arm].tasks.items()
        }
        bench = report.arms[arm].bench
        assert bench is not None
        points = tuple(point.model_copy(update={"joules": 1_000.0}) for point in bench.points)
        timed = bench.model_copy(update={"points": points})
        update = {"tasks": tasks, "bench": timed}
        changed[arm] = report.arms[arm].model_copy(update=update)
    return report.model_copy(update={"arms": changed})


def test_where_nothing_is_known_nothing_is_shown(report: Report) -> None:
    [pair] = report.pairs
    heads = [
        head
        for table in (tables.speed(pair), tables.slowest(pair), ranking.table(report))
        if table is not None
        for row in table.rows
        for head in row
    ]
    rows = [row[""] for row in tables.memory(pair).rows]
    notes = prose.speed_note(pair) + prose.evaluation_time_note(pair)
    assert "Joules" not in " ".join([*heads, *rows, notes])


def test_both_arms_stand_beside_each_other(report: Report) -> None:
    known = told(report, "baseline", "quantized")
    [pair] = known.pairs
    speed, slowest = tables.speed(pair), tables.slowest(pair)
    assert speed is not None
    assert slowest is not None
    head = "Joules a written token"
    cells = [row[head] for row in speed.rows]
    for place, (before, after) in enumerate(
        zip(pair.baseline.bench.points, pair.candidate.bench.points, strict=True)  # type: ignore[union-attr]
    ):
        # The same energy; whoever writes fewer tokens in the same time pays more for each.
        ratio = before.output_tokens_per_second / after.output_tokens_per_second
        assert f"({ratio:.2f}×" in cells[place]
        assert (", more)" in cells[place]) == (ratio > 1.05) == ((place, head) in speed.marked)
    assert all("slower" not in cell for cell in cells)
    assert {", more)" in cell for cell in cells} == {False, True}
    assert all("Joules a token of all" in row for row in slowest.rows)
    costs = {row[""]: row for row in tables.memory(pair).rows}
    right = energy.per_right(pair.baseline.tasks["gsm8k"])
    assert right is not None
    assert costs["Joules a right answer of gsm8k"]["Ratio"].endswith("×")
    assert f"Joules a right answer of {GROUP}" in costs
    assert energy.NOTE in prose.speed_note(pair)
    assert energy.NOTE in prose.evaluation_time_note(pair)


def test_an_arm_that_is_not_known_has_a_dash(report: Report) -> None:
    known = told(report, "quantized")
    [pair] = known.pairs
    speed = tables.speed(pair)
    assert speed is not None
    assert all(row["Joules a written token"].startswith("- → ") for row in speed.rows)
    assert not speed.marked & {(place, "Joules a written token") for place in range(9)}
    costs = {row[""]: row for row in tables.memory(pair).rows}
    assert costs["Joules a right answer of gsm8k"]["Baseline"] == "-"
    ranked = {row["Arm"]: row["Joules a right answer"] for row in ranking.table(known).rows}
    assert ranked["baseline"] == "-"
    assert ranked["quantized"] != "-"


def test_all_tasks_together_need_all_tasks(report: Report) -> None:
    known = told(report, "baseline", "quantized", gsm8k=None)
    assert energy.per_right_of_all(known.arms["quantized"]) is None
    assert "Joules a right answer" not in ranking.table(known).rows[0]
    assert f"Joules a right answer of {GROUP}" in [
        row[""] for row in tables.memory(known.pairs[0]).rows
    ]
    whole = told(report, "baseline", "quantized").arms["quantized"]
    counted = [task for task in whole.tasks.values() if energy.per_right(task) is not None]
    rights = sum(6_000 / (energy.per_right(task) or 0) for task in counted)
    assert energy.per_right_of_all(whole) == pytest.approx(6_000 * len(counted) / rights)
