"""What is particular to the files of each program."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import ComparisonError
from infra.suite.foreign import Declared, inspect_ai, read
from tests.infra.suite.foreign.conftest import DATA, file_of


def test_lm_evals_hashes_and_what_stands_beside_its_rows() -> None:
    path = file_of("baseline", "lm_eval")
    [result] = read(path).values()
    first = json.loads(path.read_text().splitlines()[0])
    row = result.rows[0]
    assert (row.doc_hash, row.prompt_hash, row.target_hash) == (
        first["doc_hash"], first["prompt_hash"], first["target_hash"],
    )  # fmt: skip
    assert (result.version, result.num_fewshot) == ("1.0", 0)
    assert result.reported["exact_match,none"] == pytest.approx(11 / 12)
    assert result.conditions["generation_kwargs"]["max_gen_toks"] == 8


def test_choices_that_lm_eval_writes_as_texts_are_choices_again() -> None:
    result = read(DATA / "baseline" / "lm_eval")["sums_choices"]
    assert result.rows[0].filtered["none"] == [[-1.0, True], [-2.0, False]]
    assert result.rows[0].continuations == [" 1", " 2"]


def test_a_metric_that_is_no_mean_of_its_rows_says_so(tmp_path: Path) -> None:
    source = file_of("baseline", "lm_eval")
    [beside] = source.parent.glob("results_*.json")
    results = json.loads(beside.read_text())
    results["results"]["sums_written"]["exact_match,none"] = 0.5
    (tmp_path / beside.name).write_text(json.dumps(results))
    (tmp_path / source.name).write_bytes(source.read_bytes())
    [result] = read(tmp_path / source.name).values()
    metric = result.scores("rows.jsonl", Declared()).metrics["exact_match,none"]
    assert (metric.value, metric.aggregation) == (0.5, "corpus")


def test_a_packed_log_of_inspect_is_as_a_plain_one(tmp_path: Path) -> None:
    packed = file_of("baseline", "inspect")
    log = unpacked(packed)
    (tmp_path / "log.json").write_text(json.dumps(log))
    [one], [other] = read(packed).values(), read(tmp_path / "log.json").values()
    keys = [sorted((row.doc_hash, row.prompt_hash) for row in x.rows) for x in (one, other)]
    assert keys[0] == keys[1]
    assert "system: You add." in one.rows[0].prompt and "assistant" not in one.rows[0].prompt
    with zipfile.ZipFile(packed) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {93}


def unpacked(path: Path) -> dict[str, Any]:
    """Return a log as Inspect's own `.json` has it."""
    header, samples = inspect_ai._archive(path)
    return {**header, "samples": [*samples]}


def changed(tmp_path: Path, **changes: Any) -> Path:
    log = unpacked(file_of("baseline", "inspect")) | changes
    (tmp_path / "log.json").write_text(json.dumps(log))
    return tmp_path / "log.json"


@pytest.mark.parametrize("status", ["error", "cancelled", "started"])
def test_a_log_of_inspect_that_did_not_end_is_refused(status: str, tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match=f"whose status is '{status}'"):
        read(changed(tmp_path, status=status))


def test_a_sample_that_failed_has_no_mark(tmp_path: Path) -> None:
    samples = unpacked(file_of("baseline", "inspect"))["samples"]
    samples[0].update(scores=None, error={"message": "it broke"})
    with pytest.raises(ComparisonError, match=r"has no mark by match .* its evaluation failed"):
        read(changed(tmp_path, samples=samples))


def test_epochs_are_repeats(tmp_path: Path) -> None:
    samples = unpacked(file_of("baseline", "inspect"))["samples"]
    again = [{**sample, "epoch": 2} for sample in samples]
    [result] = read(changed(tmp_path, samples=[*samples, *again])).values()
    assert result.conditions["sampling"] == {"repeats": 2}
    assert {row.repeat for row in result.rows} == {0, 1}
    with pytest.raises(ComparisonError, match="2 times"):
        read(changed(tmp_path, samples=[*samples, *samples]))


@pytest.mark.parametrize(
    ("value", "mark"),
    [("C", 1.0), ("I", 0.0), ("P", 0.5), ("N", 0.0), (True, 1.0), (0.25, 0.25), ("yes", 1.0)],
)
def test_grades_are_what_inspect_makes_of_them(value: Any, mark: float, tmp_path: Path) -> None:
    samples = unpacked(file_of("baseline", "inspect"))["samples"]
    samples[0]["scores"]["match"]["value"] = value
    [result] = read(changed(tmp_path, samples=samples)).values()
    assert result.rows[0].metrics["accuracy,match"] == mark


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    whole = file_of("baseline", "inspect").read_bytes()
    for cut in (whole[:2000], b"PK\x03\x04", whole[:400] + bytes(600) + whole[1000:]):
        (tmp_path / "log.eval").write_bytes(cut)
        with pytest.raises(ComparisonError, match="cannot be read as a log of Inspect"):
            read(tmp_path / "log.eval")


def test_evalscopes_predictions_point_to_its_reviews(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"index": 0, "model_output": {}}) + "\n")
    with pytest.raises(ComparisonError, match="have no marks") as refused:
        read(tmp_path / "p.jsonl")
    assert "reviews/" in refused.value.remedy


def test_what_evalscope_wrote_before_it_kept_messages(tmp_path: Path) -> None:
    rows = [
        {"index": i, "input": f"What is {i}?", "target": "A",
         "sample_score": {"score": {"value": {"acc": 1.0}}, "sample_id": i, "group_id": i}}
        for i in range(3)
    ]  # fmt: skip
    (tmp_path / "arc_easy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    [result] = read(tmp_path / "arc_easy.jsonl").values()
    assert [row.prompt for row in result.rows] == ["What is 0?", "What is 1?", "What is 2?"]
    assert result.rows[0].metrics == {"acc,none": 1.0}


def test_rows_that_do_not_say_what_was_asked_would_pair_with_any(tmp_path: Path) -> None:
    review = {"index": 0, "target": "A", "sample_score": {"score": {"value": {"acc": 1.0}}}}
    (tmp_path / "arc_easy.jsonl").write_text(json.dumps(review) + "\n")
    nemo = json.loads(file_of("baseline", "nemo_evaluator").read_text().splitlines()[0])
    (tmp_path / "byob_predictions.jsonl").write_text(json.dumps({**nemo, "prompt": ""}) + "\n")
    samples = unpacked(file_of("baseline", "inspect"))["samples"]
    samples[0].update(input="", messages=[])
    changed(tmp_path, samples=samples)
    for name in ("arc_easy.jsonl", "byob_predictions.jsonl", "log.json"):
        with pytest.raises(ComparisonError, match="does not say what was asked"):
            read(tmp_path / name)


def test_a_sample_that_nemo_could_not_ask_is_refused(tmp_path: Path) -> None:
    lines = file_of("baseline", "nemo_evaluator").read_text().splitlines()
    failed = {**json.loads(lines[0]), "status": "skipped_model_error", "scores": None,
              "error": "no answer"}  # fmt: skip
    path = tmp_path / "byob_predictions.jsonl"
    path.write_text("\n".join([json.dumps(failed), *lines[1:]]))
    with pytest.raises(ComparisonError, match="no mark for the sample 0: skipped_model_error"):
        read(path)


def test_nemos_own_loop_keeps_no_prompts_which_is_said(tmp_path: Path) -> None:
    steps = [
        {"problem_idx": i, "repeat": r, "reward": float(i > r), "model_response": "x",
         "extracted_answer": "x", "expected_answer": str(i), "scoring_details": {}}
        for r in range(2) for i in (2, 0, 1)
    ]  # fmt: skip
    folder = tmp_path / "gsm8k-run"
    folder.mkdir()
    (folder / "results.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    (folder / "eval-1.json").write_text(json.dumps({"benchmark": {"name": "gsm8k"}}))
    [(task, result)] = read(folder).items()
    assert task == "gsm8k" and "no prompts" in result.notes[0]
    assert [(row.doc_id, row.repeat) for row in result.rows] == [
        (0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1),
    ]  # fmt: skip
    assert [*result.rows[0].metrics] == ["reward,none"]
