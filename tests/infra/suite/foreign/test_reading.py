"""Which program left a file; what of a file can be taken, and what is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.contracts.errors import ComparisonError
from infra.suite.foreign import Declared, read
from tests.infra.suite.foreign.conftest import DATA, PROGRAMS, file_of

Copied = Callable[..., Path]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("arm", "right"), [("baseline", 11), ("candidate", 9)])
def test_every_row_has_its_question_and_the_programs_own_mark(
    program: str, arm: str, right: int
) -> None:
    [(task, result)] = read(file_of(arm, program)).items()
    scores = result.scores("rows.jsonl", Declared())
    value = scores.metrics[scores.primary_metric]
    assert len(result.rows) == value.n == 12
    assert value.value == pytest.approx(right / 12)
    assert (value.unit, value.aggregation, value.higher_is_better) == ("points", "mean", True)
    assert all(any(f"What is {i} + " in row.prompt for row in result.rows) for i in range(12))
    assert len({row.doc_hash for row in result.rows}) == 12
    assert {row.repeat for row in result.rows} == {None}
    assert task == scores.name


def test_the_tasks_are_called_as_the_programs_call_them() -> None:
    names = {program: [*read(DATA / "baseline" / program)] for program in PROGRAMS}
    assert names == {
        "lm_eval": ["sums_choices", "sums_written"], "inspect": ["sums"],
        "evalscope": ["general_mcq_sums"], "nemo_evaluator": ["sums"],
    }  # fmt: skip


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p != "inspect"])
def test_two_runs_in_one_file_are_refused(program: str, copied: Copied) -> None:
    with pytest.raises(ComparisonError, match=r"2 times|more often") as refused:
        read(copied(program, lambda lines: [*lines, lines[0]]))
    assert refused.value.remedy


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p != "inspect"])
def test_a_file_that_was_cut_is_refused_at_its_line(program: str, copied: Copied) -> None:
    with pytest.raises(ComparisonError, match="broken at line 12"):
        read(copied(program, lambda lines: [*lines[:11], lines[11][:40]]))


@pytest.mark.parametrize("name", ["samples_a.jsonl", "a.jsonl", "a.eval", "a.json"])
def test_an_empty_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ComparisonError, match=r"is empty|cannot be read"):
        read(tmp_path / name)


def test_what_is_not_there_or_nothing_known_says_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "results.json").write_text('{"results": {"gsm8k": {"acc,none": 0.5}}}')
    for path, why in (
        (tmp_path / "nothing", "does not exist"),
        (tmp_path, "holds no results"),
        (tmp_path / "notes.jsonl", "is in no known form"),
        (tmp_path / "results.json", "holds no rows"),
    ):
        with pytest.raises(ComparisonError, match=why) as refused:
            read(path)
        assert "samples_*.jsonl" in refused.value.remedy


def test_two_evaluations_in_one_folder_are_refused(tmp_path: Path) -> None:
    source = file_of("baseline", "lm_eval")
    for date in ("2026-11-29T13-50-03.435308", "2026-11-30T00-00-00.000001"):
        shutil.copy(source, tmp_path / f"samples_sums_{date}.jsonl")
    with pytest.raises(ComparisonError, match="is about sums, and so is"):
        read(tmp_path)


def test_a_mark_that_is_no_number_is_refused_where_it_decides(copied: Copied) -> None:
    def nan(lines: list[str]) -> list[str]:
        row = json.loads(lines[4])
        row["exact_match"] = float("nan")
        return [*lines[:4], json.dumps(row), *lines[5:]]

    [result] = read(copied("lm_eval", nan)).values()
    with pytest.raises(ComparisonError, match="row 4 of sums_written has nan") as refused:
        result.scores("rows.jsonl", Declared())
    assert (refused.value.field, refused.value.document) == ("metrics", 4)


def test_a_metric_that_decides_nothing_may_be_no_number(tmp_path: Path) -> None:
    [source] = (DATA / "baseline" / "lm_eval").glob("samples_sums_choices_*.jsonl")
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    rows[2]["acc_norm"] = float("nan")
    path = tmp_path / "samples_choices.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [result] = read(path).values()
    scores = result.scores("rows.jsonl", Declared())
    assert ([*scores.metrics], scores.left_out) == (["acc,none"], ("acc_norm,none",))
    with pytest.raises(ComparisonError, match="acc_norm"):
        result.scores("rows.jsonl", Declared(primary="acc_norm"))


def test_rows_of_two_tasks_carry_other_metrics(copied: Copied) -> None:
    def renamed(lines: list[str]) -> list[str]:
        row = json.loads(lines[-1])
        row.update(metrics=["f1"], f1=1.0)
        return [*lines[:-1], json.dumps(row)]

    [result] = read(copied("lm_eval", renamed)).values()
    with pytest.raises(ComparisonError, match="is marked by f1,none, others by exact_match,none"):
        result.scores("rows.jsonl", Declared())


def test_what_nobody_declares_is_declared_by_the_user(copied: Copied) -> None:
    def renamed(lines: list[str]) -> list[str]:
        rows = [json.loads(line) for line in lines]
        return [json.dumps({**row, "metrics": ["own"], "own": row["exact_match"]}) for row in rows]

    [result] = read(copied("lm_eval", renamed)).values()
    plain = result.scores("rows.jsonl", Declared()).metrics["own,none"]
    assert (plain.unit, plain.higher_is_better) == ("value", True)
    told = result.scores("rows.jsonl", Declared(points=["own"], lower_is_better=["own"]))
    assert told.metrics["own,none"].unit == "points"
    assert not told.metrics["own,none"].higher_is_better
    with pytest.raises(ComparisonError, match="has no metric 'other'"):
        result.scores("rows.jsonl", Declared(primary="other"))


@pytest.mark.parametrize(
    ("program", "change"),
    [
        ("lm_eval", {"arguments": 3}),
        ("lm_eval", {"doc_id": [1]}),
        ("evalscope", {"sample_score": {"score": [1]}}),
        ("evalscope", {"index": [1]}),
        ("nemo_evaluator", {"scores": {"exact": []}, "sample_id": [1]}),
    ],
)
def test_a_file_of_another_form_is_refused_by_its_name(
    program: str, change: dict[str, object], copied: Copied
) -> None:
    path = copied(program, lambda lines: [json.dumps({**json.loads(lines[0]), **change})])
    with pytest.raises(ComparisonError, match=f"{path.name} is not as its program writes it") as (
        refused
    ):
        read(path)
    assert refused.value.cause and refused.value.remedy
