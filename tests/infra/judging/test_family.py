"""Several candidates in one run: p-values adjusted over candidates and tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.records import Comparison, MetricComparison, Report
from infra.judging.comparison import compare, decides
from infra.judging.family import together
from infra.judging.pairing import RunRows
from infra.judging.statistics import holm
from infra.judging.verdict import decide
from tests.infra.made_runs import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, dict[str, Comparison]]:
    """Four candidates, each compared as if it were alone."""
    folder = tmp_path_factory.mktemp("run")
    report = make_run(folder, rows=120, kept=0.7, candidates=4)
    names = [name for name in report.arms if name != "baseline"]
    return report, {
        name: compare(report.baseline, report.arms[name], RunRows(folder)) for name in names
    }


def primary(comparison: Comparison) -> list[MetricComparison]:
    return [metric for metric in comparison.metrics if decides(metric)]


def p_values(found: dict[str, Comparison], field: str) -> list[float]:
    return [getattr(m, field) for comparison in found.values() for m in primary(comparison)]


def test_p_values_are_adjusted_over_all_candidates_and_tasks(
    made: tuple[Report, dict[str, Comparison]],
) -> None:
    _, alone = made
    found = together(alone)
    raw = p_values(alone, "p_value")
    assert len(raw) == 4 * 3
    assert p_values(found, "p_adjusted") == holm(raw)
    least = min(raw)
    assert min(p_values(found, "p_adjusted")) == pytest.approx(min(1.0, 12 * least))
    # Alone, each was adjusted over its own three tasks.
    assert min(p_values(alone, "p_adjusted")) == pytest.approx(min(1.0, 3 * least))
    assert all(
        one >= other
        for one, other in zip(
            p_values(found, "p_adjusted"), p_values(alone, "p_adjusted"), strict=True
        )
    )


def test_nothing_else_of_a_comparison_changes(
    made: tuple[Report, dict[str, Comparison]],
) -> None:
    _, alone = made
    found = together(alone)
    assert [*found] == [*alone]
    for name, comparison in alone.items():
        bare, again = (
            one.model_copy(update={"metrics": tuple(
                metric.model_copy(update={"p_adjusted": None}) for metric in one.metrics
            )})
            for one in (comparison, found[name])
        )  # fmt: skip
        assert again == bare
        others = [metric for metric in found[name].metrics if not decides(metric)]
        assert others
        assert {metric.p_adjusted for metric in others} == {None}


def test_one_candidate_is_as_it_was_alone(made: tuple[Report, dict[str, Comparison]]) -> None:
    _, alone = made
    for name, comparison in alone.items():
        assert together({name: comparison}) == {name: comparison}
    assert together({}) == {}


def test_it_does_not_depend_on_the_order(made: tuple[Report, dict[str, Comparison]]) -> None:
    _, alone = made
    backwards = dict(reversed(alone.items()))
    assert together(backwards) == together(alone)


def test_a_metric_without_a_test_is_not_counted(
    made: tuple[Report, dict[str, Comparison]],
) -> None:
    """Rows that are not right or wrong have none."""
    _, alone = made
    name = next(iter(alone))

    def untested(metric: MetricComparison) -> MetricComparison:
        return metric.model_copy(update={"p_value": None, "p_adjusted": None})

    without = alone[name].model_copy(update={"metrics": tuple(map(untested, alone[name].metrics))})
    found = together({**alone, name: without})
    assert found[name] == without
    rest = {other: one for other, one in alone.items() if other != name}
    assert {**found, name: without} == {**together(rest), name: without}


def test_one_of_many_needs_more_to_be_shown_worse_on_a_task(tmp_path: Path) -> None:
    """What one candidate alone fails by is no finding if ever so many were looked at."""
    report = make_run(tmp_path, rows=90, kept=0.82, found=0.02)
    comparison = report.pairs[0].comparison
    spec = report.spec.verdict.model_copy(
        update={"margin_points": 40.0, "task_margin_points": 40.0}
    )
    [gsm8k] = [metric for metric in primary(comparison) if metric.task == "gsm8k"]
    loss = -100 * gsm8k.difference
    assert gsm8k.p_adjusted is not None
    tight = spec.model_copy(update={"task_margin_points": loss - 0.1, "margin_points": loss - 0.1})
    assert decide(comparison, tight, what="Quantization").status == "FAIL"
    many = 1 + int((1 - spec.confidence) / gsm8k.p_adjusted)
    same = report.arms["quantized"]
    even = {
        f"c{number}": compare(same, same, RunRows(tmp_path), spec.among(many).confidence)
        for number in range(many - 1)
    }
    again = compare(report.baseline, same, RunRows(tmp_path), spec.among(many).confidence)
    # Had nobody counted the others:
    assert decide(again, tight, what="Quantization", candidates=many).status == "FAIL"
    found = together({"quantized": again, **even})["quantized"]
    assert decide(found, tight, what="Quantization", candidates=many).status == "INCONCLUSIVE"
