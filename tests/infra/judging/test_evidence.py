from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import ComparisonError
from infra.contracts.records import ArmResult, Comparison, Reading
from infra.judging import evidence, pairing
from infra.probes.fidelity.positions import Positions
from infra.report.receipt.remaking import check_comparison
from infra.suite.rows import Row, read_rows
from tests.broken_checkpoints import SAMPLE
from tests.infra.made_runs import make_run, of_pair
from tests.infra.suite.harness.conftest import Heard


class Run:
    """Both arms of a made-up run, with readings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report = make_run(folder, rows=20)
        self.arms = {
            arm: result.model_copy(
                update={
                    "checkpoint": result.checkpoint.model_copy(update={"path": SAMPLE}),
                    "reading": self.read(arm, [1, 2, 3]),
                }
            )
            for arm, result in self.report.arms.items()
        }
        self.heard = Heard()

    def read(self, arm: str, text: list[int], **changed: Any) -> Reading:
        count = len(text) - 1
        found = Positions.of(
            [text], [-1.0] * count, [[1, 2]] * count, [[-1.0, -2.0]] * count, origin="made up"
        )
        found.save(self.folder / f"{arm}.npz")
        values = {"nll": found.nll, "perplexity": math.exp(found.nll), **changed}
        return Reading(
            texts=found.texts, file=f"{arm}.npz", documents=1, tokens=count, **values
        )  # fmt: skip

    def change(self, arm: Any, **fields: Any) -> None:
        self.arms[arm] = self.arms[arm].model_copy(update=fields)

    def compare(self, repeat: ArmResult | None = None) -> Comparison:
        return evidence.compare(
            self.arms["baseline"], self.arms["quantized"], "quantized", repeat, self.report.spec,
            self.folder, self.heard,
        )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_all_parts_are_there(run: Run) -> None:
    found = run.compare(run.arms["baseline"])
    assert found.fidelity is not None
    assert found.noise is not None
    assert found.gaps is not None
    assert [*found.gaps.tasks] == ["global_mmlu_en", "gpqa_main_zeroshot"]
    assert run.heard.said == []


def test_each_file_of_rows_is_read_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[Path] = Counter()

    def counted(path: Path, task: str) -> Iterator[Row]:
        read[path] += 1
        return read_rows(path, task)

    monkeypatch.setattr(pairing, "read_rows", counted)
    run.compare()
    assert read == Counter(
        run.folder / scores.samples for arm in run.arms.values() for scores in arm.tasks.values()
    )


def test_what_takes_long_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.compare()
    assert run.heard.updates == []
    monkeypatch.setattr(evidence, "_PATIENCE", 0.0005)
    run.compare(run.arms["baseline"])
    parts = {what.partition(": ")[2] for what, *_ in run.heard.updates}
    assert {"scores", "gaps"} <= parts
    for what, seconds, total, unit in run.heard.updates:
        assert what.startswith("comparing quantized with the baseline: ")
        assert (seconds >= 0, total, unit) == (True, None, "s")


def test_a_shorter_text_costs_the_fidelity_alone(run: Run) -> None:
    run.change("quantized", reading=run.read("quantized", [1, 2]))
    found = run.compare(run.arms["baseline"])
    assert found.fidelity is None
    assert found.noise is not None
    assert found.metrics == run.report.pairs[0].comparison.metrics
    (line,) = run.heard.said
    assert "different fidelity texts" in line
    # And the receipt of such a report holds.
    report = of_pair(run.report.model_copy(update={"arms": run.arms}), comparison=run.compare())
    checked, _ = check_comparison(report, run.folder)
    assert checked.wrong == ()


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_figure_that_is_no_number_costs_the_fidelity_alone(run: Run, value: float) -> None:
    run.change("baseline", reading=run.read("baseline", [1, 2, 3], perplexity=value))
    assert run.compare().fidelity is None
    assert "perplexity_baseline is" in run.heard.said[0]


def test_a_repeat_of_other_tasks_costs_the_noise_floor_alone(run: Run) -> None:
    repeat = run.arms["baseline"].model_copy(update={"tasks": {}})
    found = run.compare(repeat)
    assert found.noise is None
    assert found.fidelity is not None
    assert "no noise floor" in run.heard.said[0]


def test_other_tasks_are_still_refused(run: Run) -> None:
    run.change("quantized", tasks={})
    with pytest.raises(ComparisonError, match="different tasks"):
        run.compare()


def test_a_metric_that_is_no_number_in_one_arm_is_named_and_not_compared(run: Run) -> None:
    scores = run.arms["quantized"].tasks["gsm8k"]
    other = next(metric for metric in scores.metrics if metric != scores.primary_metric)
    metrics = {name: value for name, value in scores.metrics.items() if name != other}
    lacking = scores.model_copy(update={"metrics": metrics})
    left_out = lacking.model_copy(update={"left_out": (other,)})
    run.change("quantized", tasks={**run.arms["quantized"].tasks, "gsm8k": left_out})
    found = run.compare()
    assert [m.metric for m in found.metrics if m.task == "gsm8k"] == [scores.primary_metric]
    assert run.heard.said == [f"gsm8k: {other} is no number in quantized and is not compared"]
    assert json.loads(left_out.model_dump_json())["left_out"] == [other]
    # An arm that never had the metric was evaluated on something else.
    run.change("quantized", tasks={**run.arms["quantized"].tasks, "gsm8k": lacking})
    with pytest.raises(ComparisonError, match="metrics"):
        run.compare()
