"""A table that a version without a database wrote is taken over whole, and read with new names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from infra.judging.earlier_runs import learn
from infra.report import trend
from infra.report.trend import rows
from infra.store import history
from tests.infra.made_runs import make_run

TABLE = Path(__file__).parent / "before_the_database.csv"
"""Three runs: two of the label `sample`, one `nightly` with all that is measured."""

RUNS = [
    "sample-20261119-101500-0a1b2c3d",
    "sample-20261121-101500-1f2e3d4c",
    "nightly-20261122-030000-99aabbcc",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(TABLE, tmp_path / "history.csv")
    return tmp_path


def _texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype="string", keep_default_na=False)


@pytest.mark.parametrize("by", ["a run", "a command"])
def test_not_a_cell_is_lost(folder: Path, by: str) -> None:
    if by == "a run":
        report = make_run(folder / "new", run_id="new", rows=24)
        assert rows.record(report, folder) is None
    else:
        assert history.take_over(folder) is None
    before, now = _texts(TABLE), _texts(folder / "history.csv")
    now = now[now.run_id != "new"]
    assert before.arm.replace("base", "baseline").tolist() == now.arm.tolist()
    assert before.exam.tolist() == now.questions.tolist()
    same = [name for name in before.columns if name not in ("arm", "exam")]
    pd.testing.assert_frame_equal(before[same], now[same])
    assert list(now.columns) == list(history.COLUMNS)


@pytest.mark.parametrize("taken_over", [False, True])
def test_its_runs_appear(folder: Path, taken_over: bool) -> None:
    if taken_over:
        assert history.take_over(folder) is None
    frame = history.read(folder)
    assert frame.run_id.unique().tolist() == RUNS
    found = trend.trends(frame)
    assert {(t.kind.label, t.task) for t in found} == {
        (label, task)
        for label in ("sample", "nightly")
        for task in ("gsm8k", "global_mmlu_en", "gpqa_main_zeroshot", "letters_generative")
    }
    (nightly,) = [t for t in found if (t.kind.label, t.task) == ("nightly", "gsm8k")]
    (point,) = nightly.points
    assert (point.arm, point.verdict, point.baseline, point.candidate) == (
        "quantized", "FAIL", 38 / 60, 38 / 60,
    )  # fmt: skip
    assert RUNS[2] in trend.write(folder).read_text()
    earlier = learn(folder, label="nightly", model=nightly.kind.model, tasks=["gsm8k"])
    assert earlier.runs == {"gsm8k": (RUNS[2],)}


def test_its_candidates_are_of_the_kind_that_their_recipe_is_today(folder: Path) -> None:
    report = make_run(folder / "new", rows=24)
    kinds = {t.kind for t in trend.trends(history.read(folder)) if t.kind.label == "sample"}
    assert kinds == {trend.kind_of(report.pairs[0])}


def test_a_candidate_may_be_called_base(tmp_path: Path) -> None:
    arms = ("baseline", "base")
    rows_of_run = [{"run_id": "run", "task": "t", "value": 1.0, "arm": arm} for arm in arms]
    assert history.append("run", rows_of_run, tmp_path / "one") is None
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "one" / "history.csv", tmp_path / "other")
    assert history.read(tmp_path / "other").arm.tolist() == ["baseline", "base"]
