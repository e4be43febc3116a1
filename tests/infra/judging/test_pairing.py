"""The rows of two arms are read once and joined once, however often they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import ComparisonError
from infra.judging import pairing
from infra.judging.pairing import RunRows, paired_rows
from tests.infra.made_runs import make_run


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    arms = make_run(tmp_path, rows=20).arms
    baseline, candidate = (arms[name].tasks["gsm8k"] for name in ("baseline", "quantized"))
    rows = RunRows(tmp_path)
    pairs = rows.paired(baseline, candidate)
    assert pairs == paired_rows(baseline, candidate, tmp_path)
    for scores in (baseline, candidate):
        (tmp_path / scores.samples).unlink()
    assert rows.paired(baseline, candidate) is pairs
    assert rows.of(baseline) == [pair.baseline for pair in pairs]
    with pytest.raises(ComparisonError, match="cannot be read"):
        RunRows(tmp_path).of(baseline)


def test_of_large_files_no_more_is_held_than_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = make_run(tmp_path, rows=20).arms
    baseline, candidate = (arms[name].tasks["gsm8k"] for name in ("baseline", "quantized"))
    monkeypatch.setattr(pairing, "_MOST_BYTES", (tmp_path / baseline.samples).stat().st_size)
    rows = RunRows(tmp_path)
    pairs = rows.paired(baseline, candidate)
    assert rows.paired(baseline, candidate) == pairs
    (tmp_path / baseline.samples).unlink()
    assert rows.paired(baseline, candidate) == pairs
    (tmp_path / candidate.samples).unlink()
    assert rows.of(baseline) == [pair.baseline for pair in pairs]
    for ask in (rows.of, lambda scores: rows.paired(baseline, scores)):
        with pytest.raises(ComparisonError, match="cannot be read"):
            ask(candidate)


def test_arms_that_were_joined_are_held_against_each_other_again(tmp_path: Path) -> None:
    arms = make_run(tmp_path, rows=20).arms
    baseline, candidate = (arms[name].tasks["gsm8k"] for name in ("baseline", "quantized"))
    rows = RunRows(tmp_path)
    rows.paired(baseline, candidate)
    with pytest.raises(ComparisonError, match="differs in questions"):
        rows.paired(baseline, candidate.model_copy(update={"questions": "others"}))
    with pytest.raises(ComparisonError, match="differs in num_fewshot"):
        rows.paired(baseline, candidate.model_copy(update={"num_fewshot": 3}))


def test_each_arm_is_joined_with_the_one_that_is_asked_for(tmp_path: Path) -> None:
    arms = make_run(tmp_path, rows=20, candidates=2).arms
    rows = RunRows(tmp_path)
    baseline = arms["baseline"].tasks["gsm8k"]
    for name in ("quantized", "candidate-2"):
        candidate = arms[name].tasks["gsm8k"]
        found = [pair.candidate for pair in rows.paired(baseline, candidate)]
        assert found == [pair.candidate for pair in paired_rows(baseline, candidate, tmp_path)]
