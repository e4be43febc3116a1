"""What a report says of the gaps between choices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.contracts.records import (
    ChoiceGaps,
    CloseRow,
    GapChange,
    Gaps,
    GapSpread,
    Pair,
    PredictedFlips,
    Report,
    TaskGaps,
)
from infra.report import gap_plot, gap_tables
from infra.report.figures import DARK
from infra.report.html import render
from infra.report.rows import rows_of
from tests.infra.made_runs import GROUP, make_run, of_pair
from tests.infra.report.test_report import Page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("run")
    return make_run(folder, rows=24, with_gaps=True), folder


def spread(mean: float) -> GapSpread:
    return GapSpread(mean=mean, quantiles=tuple(mean * n / 10 for n in range(21)))


def change(low: float | None = -0.4, high: float | None = -0.1) -> GapChange:
    return GapChange(
        baseline=spread(2.0), candidate=spread(1.75), difference=-0.25, low=low, high=high,
        method="made up",
    )  # fmt: skip


def flips(seen: int) -> PredictedFlips:
    return PredictedFlips(rows=200, predicted=12.34, low=6, high=19, seen=seen)


def task(**changes: Any) -> TaskGaps:
    fields: dict[str, Any] = {
        "rows": 200, "left_out": 0, "unit": "nats", "best": change(), "right": change(),
        "changed": flips(21), "flips": flips(14), "metric": "acc,none", "slope": 0.875,
        "closest": (
            CloseRow(task="t_one", doc_id=7, baseline=0.0123, candidate=-0.4, chance=0.482,
                     outcome="lost"),
            CloseRow(task="t_two", doc_id=8, baseline=0.5, candidate=0.25, chance=None,
                     outcome="changed"),
        ),
    }  # fmt: skip
    return TaskGaps(**(fields | changes))


def with_gaps(pair: Pair, tasks: dict[str, TaskGaps], **whole: Any) -> Pair:
    """Return a candidate beside the baseline with these gaps."""
    first = next(iter(tasks.values()))
    fields = {name: getattr(first, name) for name in Gaps.model_fields} | whole
    found = ChoiceGaps(confidence=0.95, tasks=tasks, whole=Gaps(**fields))
    comparison = pair.comparison.model_copy(update={"gaps": found})
    return of_pair(pair.report, comparison=comparison).pairs[0]


@pytest.fixture
def pair(run: tuple[Report, Path]) -> Pair:
    return run[0].pairs[0]


def test_the_tables_of_one_task(pair: Pair) -> None:
    made = with_gaps(pair, {"t": task()})
    changes, predicted, closest = (
        table(made) for table in (gap_tables.changes, gap_tables.flips, gap_tables.closest)
    )
    assert changes
    assert [row["Gap"] for row in changes.rows] == [gap_tables.BEST, gap_tables.RIGHT]
    assert changes.rows[0]["Mean"] == "2.000 → 1.750"
    assert changes.rows[0]["Change of the mean"] == "−0.250 (−0.400 to −0.100)"
    assert predicted
    assert predicted.rows == [{
        "Task": "t", "Rows": "200", "Flips predicted": "12.3 (6 to 19)", "Flips seen": "14",
        "Changed predicted": "12.3 (6 to 19)", "Changed seen": "21 (more than predicted)",
    }]  # fmt: skip
    assert predicted.marked == {(0, "Changed seen")}
    assert closest
    assert [row["Row"] for row in closest.rows] == ["t_one 7", "t_two 8"]
    assert closest.rows[0]["Chance to flip"] == "48 %"
    assert closest.rows[0]["Candidate, same answer"] == "−0.400"
    assert closest.rows[1]["What it did"] == "another answer, same mark"


def test_several_tasks_begin_with_all_rows(pair: Pair) -> None:
    made = with_gaps(
        pair, {"t": task(), "u": task(unit="nats per byte")}, unit="", best=None, right=None
    )
    changes, predicted = gap_tables.changes(made), gap_tables.flips(made)
    assert changes
    assert [row["Task"] for row in changes.rows] == ["t", "t", "u", "u"]
    assert predicted
    assert [row["Task"] for row in predicted.rows] == [gap_tables.ALL, "t", "u"]
    wide, narrow = (
        gap_plot.draw(made, layout=layout, palette=DARK) for layout in ("wide", "narrow")
    )
    assert wide
    assert narrow
    assert wide != narrow
    assert "below 1.75 in the candidate" in gap_plot.describe(made)


@pytest.mark.parametrize(("limits", "seen", "sentences"), [
    ((-0.4, -0.1), 14, ("Over the rows of t, gaps have shrunk by 0.25 nats, 12 % of the "
                        "baseline's, on average.", "no more and no fewer than noise alone makes")),
    ((0.1, 0.4), 20, ("have grown by 0.25 nats", "20 did, more than noise alone makes")),
    ((-0.1, 0.4), 5, ("not shown to have shrunk or grown", "5 did, fewer than noise alone")),
])  # fmt: skip
def test_what_it_comes_to(
    pair: Pair, limits: tuple[float, float], seen: int, sentences: tuple[str, str]
) -> None:
    found = gap_tables.sentences(
        with_gaps(pair, {"t": task(best=change(*limits), flips=flips(seen))})
    )
    assert len(found) == 2
    for sentence, expected in zip(found, sentences, strict=True):
        assert expected in sentence


def test_what_cannot_be_said_is_not_said(pair: Pair) -> None:
    nothing = {"best": change(None, None), "right": None, "flips": None, "changed": None}
    made = with_gaps(pair, {"t": task(**nothing, slope=None, closest=())})
    assert gap_tables.sentences(made) == ()
    assert gap_tables.flips(made) is None
    assert gap_tables.closest(made) is None
    assert gap_tables.reading(made) == ""
    assert gap_plot.draw(made)
    without = of_pair(
        pair.report, comparison=pair.comparison.model_copy(update={"gaps": None})
    ).pairs[0]
    assert gap_plot.draw(without) is None
    assert gap_tables.changes(without) is None
    assert gap_tables.sentences(without) == ()
    assert gap_tables.method(without) == ""


def test_rows_that_are_left_out_are_counted(pair: Pair) -> None:
    made = with_gaps(pair, {"t": task(left_out=3)})
    assert "3 rows are left out" in gap_tables.method(made)
    assert "left out" not in gap_tables.method(with_gaps(pair, {"t": task()}))


def test_the_closest_rows_can_be_browsed(run: tuple[Report, Path]) -> None:
    report, folder = run
    [pair] = report.pairs
    tasks = {of.task: of for of in rows_of(pair, folder)}
    gaps = pair.comparison.gaps
    assert gaps
    shown = [(row.row.task, row.row.doc_id) for row in tasks[GROUP].closest]
    assert shown == [(row.task, row.doc_id) for row in gaps.tasks[GROUP].closest]
    assert tasks["gsm8k"].closest == ()
    text = Page(render(report, folder)).text
    assert f"The {len(shown)} rows closest to flipping, whether they did or not" in text
    assert text.index("Gaps: how close") < text.index("Rows, with questions")
