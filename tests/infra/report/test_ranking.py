"""Several candidates beside each other: who stands first, and who is outdone by none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import Report
from infra.contracts.specs import MatrixModelSpec, MatrixSpec
from infra.report import ranking, tradeoff_plot
from infra.report.matrix import cells
from infra.report.ranking import Standing, standings, undominated
from infra.stages.matrix import collect
from infra.store.settings import Settings
from tests.infra.made_records import with_everything
from tests.infra.made_runs import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("run")
    return with_everything(make_run(folder, rows=60, kept=0.5, candidates=3))


def with_verdicts(report: Report, **statuses: str) -> Report:
    """Return a report with other verdicts: `candidate_2="PASS"`."""
    judged = dict(report.judged)
    for name, status in statuses.items():
        one = judged[name.replace("_", "-")]
        verdict = one.verdict.model_copy(update={"status": status})
        judged[name.replace("_", "-")] = one.model_copy(update={"verdict": verdict})
    return report.model_copy(update={"judged": judged})


def with_size(report: Report, name: str, size_bytes: int) -> Report:
    arm = report.arms[name]
    checkpoint = arm.checkpoint.model_copy(update={"size_bytes": size_bytes})
    arms = report.arms | {name: arm.model_copy(update={"checkpoint": checkpoint})}
    return report.model_copy(update={"arms": arms})


def order(report: Report) -> list[str]:
    return [one.name for one in standings(report)]


def test_who_passes_comes_first_then_the_smaller_then_who_loses_less(made: Report) -> None:
    """`candidate-2` has the weights of the baseline, the others a third of them."""
    alike = with_verdicts(made, quantized="PASS", candidate_2="PASS", candidate_3="PASS")
    assert order(alike) == ["baseline", "candidate-3", "quantized", "candidate-2"]
    mixed = with_verdicts(made, quantized="INCONCLUSIVE", candidate_2="PASS", candidate_3="FAIL")
    assert order(mixed) == ["baseline", "candidate-2", "quantized", "candidate-3"]
    assert order(with_size(alike, "quantized", 5)) == [
        "baseline", "quantized", "candidate-3", "candidate-2",
    ]  # fmt: skip


def test_a_loss_is_what_is_missing_with_its_limits(made: Report) -> None:
    for one in standings(made)[1:]:
        pooled = made.judged[one.name].comparison.pooled
        assert pooled is not None
        assert one.loss == pytest.approx(
            (-100 * pooled.difference, -100 * pooled.high, -100 * pooled.low)
        )
        loss, low, high = one.loss or (0, 0, 0)
        assert low <= loss <= high
    baseline = standings(made)[0]
    assert (baseline.is_baseline, baseline.loss) == (True, (0.0, 0.0, 0.0))


def test_speed_is_of_the_shortest_prompts(made: Report) -> None:
    """Tokens at the most requests at a time, the first token at the fewest."""
    points = {
        (point.input_tokens, point.concurrency): point
        for point in made.baseline.bench.points  # type: ignore[union-attr]
    }
    baseline = standings(made)[0]
    assert baseline.tokens_per_second == points[128, 16].output_tokens_per_second
    assert baseline.first_token_ms == points[128, 1].ttft_ms_median


def test_the_table_has_a_row_for_every_arm(made: Report, tmp_path: Path) -> None:
    rows = ranking.table(made).rows
    assert [row["Arm"] for row in rows] == order(made)
    assert (rows[0]["Verdict"], rows[0]["Loss, points"]) == ("-", "-")
    assert {row["What"] for row in rows[1:]} == {
        "as 4-bit AWQ in groups of 128", "as 4-bit AWQ in groups of 64",
        "with --kv-cache-dtype fp8",
    }  # fmt: skip
    plain = ranking.table(make_run(tmp_path, rows=12, candidates=2)).rows
    assert {row["Tokens a second"] for row in plain} == {"-"}


def with_pooled(report: Report, name: str, **fields: float) -> Report:
    one = report.judged[name]
    assert one.comparison.pooled is not None
    pooled = one.comparison.pooled.model_copy(update=fields)
    comparison = one.comparison.model_copy(update={"pooled": pooled})
    judged = report.judged | {name: one.model_copy(update={"comparison": comparison})}
    return report.model_copy(update={"judged": judged})


def test_the_ends_of_a_loss_are_rounded_outwards_and_nothing_lost_has_no_sign(
    made: Report, tmp_path: Path
) -> None:
    report = with_pooled(made, "quantized", difference=0.0004, low=-0.0112, high=0.0112)
    report = with_pooled(report, "candidate-2", difference=0.0, low=-0.0109, high=0.0)
    shown = {row["Arm"]: row["Loss, points"] for row in ranking.table(report).rows}
    assert shown["quantized"] == "−0.04 (−1.2 to 1.2)"
    assert shown["candidate-2"] == "0.0 (0.0 to 1.1)"
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json(), encoding="utf-8")
    model = MatrixModelSpec(model=report.spec.baseline.model, name="qwen")
    spec = MatrixSpec(
        models=(model,), evaluation=report.spec.evaluation, results=report.spec.results
    )
    table = collect(spec, {cell.name: path for cell in spec.cells}, {}, Settings(runs=tmp_path))
    assert {cell["Arm"]: cell["Loss, points"] for cell in cells(table)} == shown
    [same] = [row for row in table.rows if row.arm == "candidate-2"]
    assert str(same.loss_points) == "0.0"


def test_scores_of_every_arm_stand_beside_each_other(made: Report) -> None:
    rows = ranking.scores_table(made).rows
    assert [row["Task"] for row in rows] == [*made.baseline.tasks]
    for row in rows:
        for name, arm in made.arms.items():
            task = arm.tasks[row["Task"]]
            value = task.metrics[task.primary_metric].value
            assert row[name].startswith(f"{100 * value:.1f} % ± ")


@pytest.mark.parametrize(("points", "best"), [
    ([], []),
    ([(1, 1)], [True]),
    ([(1, 2), (2, 1), (2, 2)], [True, True, False]),
    ([(1, 1), (1, 1)], [True, True]),  # none outdoes its like
    ([(1, 1), (1, 2)], [True, False]),
    ([(-1, 5), (0, 4), (3, 4), (2, 3)], [True, True, False, True]),
])  # fmt: skip
def test_who_is_outdone_by_none(points: list[tuple[float, float]], best: list[bool]) -> None:
    assert undominated(points) == best


def test_the_figure_says_in_words_who_is_outdone_by_none(made: Report) -> None:
    assert tradeoff_plot.draw(made) is not None
    said = tradeoff_plot.describe(made)
    by_size = said.partition(";")[0]
    assert by_size.startswith("Weights on disk: ")
    arms = [one for one in standings(made) if one.loss is not None]
    marks = undominated([((one.loss or (0,))[0], one.size_bytes) for one in arms])
    for one, best in zip(arms, marks, strict=True):
        assert (f"{one.name}," in by_size or f"{one.name} " in by_size) == best


def test_without_points_there_is_no_figure(made: Report) -> None:
    def without(found: Report) -> dict[str, Any]:
        return {
            name: one.model_copy(
                update={"comparison": one.comparison.model_copy(update={"pooled": None})}
            )
            for name, one in found.judged.items()
        }

    bare = made.model_copy(update={"judged": without(made)})
    assert tradeoff_plot.draw(bare) is None
    assert [one.loss for one in standings(bare)[1:]] == [None] * 3
    assert {row["Loss, points"] for row in ranking.table(bare).rows} == {"-"}
    assert isinstance(standings(bare)[0], Standing)


@pytest.mark.parametrize("marks", [
    [(100.0, 80.0)] * 8,
    [(100.0, 80.0 + place) for place in range(8)],
    [(190.0, 3.0 * place) for place in range(8)],
    [(20.0 * place, 80.0 - place) for place in range(8)],
])  # fmt: skip
def test_names_cover_neither_each_other_nor_a_mark(marks: list[tuple[float, float]]) -> None:
    names = [f"candidate-{place}" for place in range(8)]
    boxes = []
    for (x, _), (start, height), name in zip(
        marks, tradeoff_plot.name_places(marks, names, 200), names, strict=True
    ):
        ends = sorted((start, start + (1 if start > x else -1) * 4.6 * len(name)))
        boxes.append((*ends, height))
        assert abs(start - x) == 6
        assert ends[1] <= 200 or x < 100
    boxes += [(x - 4, x + 4, y) for x, y in dict.fromkeys(marks)]
    for at, (left, right, height) in enumerate(boxes[:8]):
        for other_left, other_right, other in boxes[at + 1 :]:
            beside = left < other_right and other_left < right
            assert not beside or abs(height - other) > 9


def test_names_stand_in_the_order_of_their_marks() -> None:
    marks = [(20.0, 80.0), (20.0, 82.0), (20.0, 84.0)]
    heights = [height for _, height in tradeoff_plot.name_places(marks, ["a", "b", "c"], 200)]
    assert heights == [65, 74.5, 84]


def test_a_name_with_room_stands_beside_its_mark() -> None:
    assert tradeoff_plot.name_places([(50, 90), (150, 20)], ["one", "other-name"], 190) == [
        (56, 90), (144, 20),
    ]  # fmt: skip
