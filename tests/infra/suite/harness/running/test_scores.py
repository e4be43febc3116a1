from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.contracts.errors import EvaluationError
from infra.contracts.records import TaskScores
from infra.suite.harness.running.samples import sample_rows
from infra.suite.harness.running.scores import metric_keys, primary_metric, task_scores
from infra.suite.rows import read_rows, write_rows


@pytest.mark.parametrize(
    ("order", "found", "primary"),
    [
        (["acc", "acc_norm"], ["acc,none", "acc_norm,none"], "acc,none"),
        (["acc_norm", "acc"], ["acc,none", "acc_norm,none"], "acc_norm,none"),
        (["exact_match"], ["exact_match,flexible", "exact_match,strict-match"],
         "exact_match,strict-match"),
        (["exact_match"], ["exact_match,get-answer", "exact_match,last"], "exact_match,get-answer"),
        (["gone"], ["pass@1,none"], "pass@1,none"),
        ([], [], ""),
    ],
)  # fmt: skip
def test_primary_metric(order: list[str], found: list[str], primary: str) -> None:
    assert primary_metric(order, found) == primary


def test_metric_keys_leave_errors_and_names_out() -> None:
    result = {"alias": "a, b", "acc,none": 1, "acc_stderr,none": 0, "sample_len": 3, "name": "x"}
    assert metric_keys({**result, "alias": "a"}) == ["acc,none"]


def logged(doc_id: int, filter_name: str, mark: float) -> dict[str, Any]:
    return {
        "doc_id": doc_id, "doc": {"q": "?"}, "target": "#### 1", "filter": filter_name,
        "arguments": [("Question?", {"until": ["\n"]})], "resps": [["1"]],
        "filtered_resps": [f"{filter_name} 1"], "metrics": ["exact_match"],
        "exact_match": np.float64(mark),
        "doc_hash": f"d{doc_id}", "prompt_hash": f"p{doc_id}", "target_hash": f"t{doc_id}",
    }  # fmt: skip


def test_a_document_is_one_row_with_the_marks_of_every_filter(tmp_path: Path) -> None:
    samples = {"t": [logged(i, f, i) for f in ("strict", "loose") for i in (0, 1)]}
    rows = sample_rows(samples, {("t", 0, 0): "length"})
    write_rows(tmp_path / "rows.jsonl", rows)
    read = [*read_rows(tmp_path / "rows.jsonl", "t")]
    assert [row.doc_id for row in read] == [0, 1]
    assert read[1].metrics == {"exact_match,strict": 1.0, "exact_match,loose": 1.0}
    assert read[1].filtered == {"strict": ["strict 1"], "loose": ["loose 1"]}
    assert read[0].prompt == "Question?"
    assert (read[0].truncated, read[0].finish_reason) == (True, "length")
    assert read[0].continuations == []


class Defined:
    """As much of an lm-eval task as its scores need."""

    def aggregation(self) -> dict[str, Any]:
        return {"acc": None, "loss": None}

    def higher_is_better(self) -> dict[str, Any]:
        return {"acc": True, "loss": False}


def scored(**result: Any) -> TaskScores:
    rows = sample_rows({"t": [logged(0, "f", 1)]})
    results = {
        "results": {"t": result}, "higher_is_better": {"t": {"loss": False}},
        "n-shot": {"t": 0}, "versions": {"t": 1},
    }  # fmt: skip
    found = task_scores(
        "t", results, {"tasks": {"t": Defined()}}, rows,
        dataset={}, conditions={}, samples="t.jsonl", seconds=1.0,
    )  # fmt: skip
    # Whatever is stored can be read back.
    assert TaskScores.model_validate_json(found.model_dump_json()) == found
    return found


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, np.float64("nan"), "N/A"])
def test_what_is_no_finite_number_is_never_stored(bad: Any) -> None:
    good = {"acc,none": 0.5, "acc_stderr,none": 0.1, "loss,none": 2.0, "loss_stderr,none": 0.2}
    assert scored(**good).left_out == ()
    found = scored(**{**good, "acc_stderr,none": bad})
    assert found.metrics["acc,none"].stderr is None
    assert (found.metrics["loss,none"].stderr, found.left_out) == (0.2, ())
    found = scored(**{**good, "loss,none": bad})
    assert (found.metrics.keys(), found.left_out) == ({"acc,none"}, ("loss,none",))
    with pytest.raises(EvaluationError, match=r"t ran, but its score acc,none is"):
        scored(**{**good, "acc,none": bad})
