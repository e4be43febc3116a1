"""Results of others are judged as our own arms are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts.errors import ComparisonError, MarginUnresolvable
from infra.contracts.specs import VerdictSpec
from infra.stages.comparing_results import compare_results
from infra.suite.foreign import Declared
from tests.infra.suite.foreign.conftest import DATA, PROGRAMS, file_of

WIDE = VerdictSpec(margin_points=60, task_margin_points=90)


def samples(path: Path, right: list[bool], **changes: Any) -> Path:
    """Write a file of lm-eval's with as many rows as are wanted, its first line their model."""
    first = json.loads(file_of("baseline", "lm_eval").read_text().splitlines()[0])
    rows = [
        {**first, "doc_id": i, "doc_hash": f"d{i}", "prompt_hash": f"p{i}", "exact_match": float(r),
         "doc": {"question": f"What is {i}?"}, "target": f"{i}", "target_hash": f"t{i}", **changes}
        for i, r in enumerate(right)
    ]  # fmt: skip
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(tmp_path: Path, one: list[bool], other: list[bool], **changes: Any) -> tuple[Path, Path]:
    return (
        samples(tmp_path / "a" / "samples_sums.jsonl", one),
        samples(tmp_path / "b" / "samples_sums.jsonl", other, **changes),
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_rows_of_each_program_pair(program: str) -> None:
    compared = compare_results(
        DATA / "baseline" / program, DATA / "candidate" / program, WIDE, name="int4"
    )
    [one] = compared.document.candidates
    assert one.name == "int4"
    for task in one.tasks:
        assert (task.rows, task.lost, task.gained) == (12, 2, 0)
        assert task.difference.value == pytest.approx(-100 * 2 / 12)
    assert compared.document.kind == "comparison"
    assert all(len(source.sha256) == 64 for source in compared.document.sources)
    assert not compared.notes


def test_the_verdict_is_that_of_the_same_rows_in_a_run(tmp_path: Path) -> None:
    right = [True] * 900 + [False] * 300
    for other, status, code in (
        (right, "PASS", 0),
        ([True] * 780 + [False] * 420, "FAIL", 3),
        ([True] * 885 + [False] * 15 + [True] * 8 + [False] * 292, "INCONCLUSIVE", 4),
    ):
        document = compare_results(*pair(tmp_path, right, other), VerdictSpec()).document
        assert (document.status, document.exit_code) == (status, code), document.headline


def test_rows_pair_by_what_they_ask_in_whatever_order(tmp_path: Path) -> None:
    one, other = pair(tmp_path, [True, False] * 50, [True, False] * 50)
    rows = [json.loads(line) for line in other.read_text().splitlines()]
    for number, row in enumerate(reversed(rows)):
        row["doc_id"] = number
    other.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    [task] = compare_results(one, other, WIDE).document.candidates[0].tasks
    assert (task.lost, task.gained) == (0, 0)


def test_another_question_is_refused_though_its_number_is_the_same(tmp_path: Path) -> None:
    one, other = pair(tmp_path, [True] * 50, [True] * 50)
    other.write_text(other.read_text().replace('"d7"', '"another"'))
    with pytest.raises(ComparisonError, match="doc_hash of document 7"):
        compare_results(one, other, WIDE)
    samples(other, [True] * 49)
    with pytest.raises(ComparisonError, match="differs in n: 50 in the baseline, 49"):
        compare_results(one, other, WIDE)


def test_other_words_are_refused_or_counted(tmp_path: Path) -> None:
    one, other = pair(tmp_path, [True] * 50, [True] * 50)
    other.write_text(other.read_text().replace('"p7"', '"other words"'))
    with pytest.raises(
        ComparisonError, match=r"1 questions of sums were put .* in other words"
    ) as (refused):
        compare_results(one, other, WIDE)
    assert refused.value.field == "prompt" and "--prompts-may-differ" in refused.value.remedy
    compared = compare_results(one, other, WIDE, prompts_may_differ=True)
    assert compared.notes == (
        "1 of 50 questions of sums were put to the two in other words; rows are paired by "
        "question.",
    )


def test_a_question_that_comes_twice_may_have_two_prompts(tmp_path: Path) -> None:
    """Examples before it are drawn for each document anew."""
    one, other = pair(tmp_path, [True] * 50, [True] * 50)
    for path in (one, other):
        path.write_text(path.read_text().replace('"d7"', '"d6"').replace('"t7"', '"t6"'))
    [task] = compare_results(one, other, WIDE).document.candidates[0].tasks
    assert (task.rows, task.lost, task.gained) == (50, 0, 0)
    other.write_text(other.read_text().replace('"p7"', '"other words"'))
    with pytest.raises(ComparisonError, match="1 questions of sums were put"):
        compare_results(one, other, WIDE)


def test_nothing_is_held_against_itself(tmp_path: Path) -> None:
    one, other = pair(tmp_path, [True] * 50, [True] * 50)
    for path in (one, one.parent):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(path)
        for same in (path, tmp_path / "link"):
            with pytest.raises(ComparisonError, match="Baseline and candidate are both"):
                compare_results(path, same, WIDE)
    assert "byte for byte" in compare_results(one, other, WIDE).notes[0]


def test_a_task_that_its_folder_names_is_the_same_in_folders_called_alike(tmp_path: Path) -> None:
    file = file_of("baseline", "nemo_evaluator")
    one, other = tmp_path / "a" / "sums", tmp_path / "b" / "others"
    for folder in (one, other):
        folder.mkdir(parents=True)
        shutil.copy(file, folder)
    with pytest.raises(ComparisonError, match="about different tasks") as refused:
        compare_results(one, other, WIDE)
    assert "call both alike" in refused.value.remedy
    alike = other.rename(tmp_path / "b" / "sums")
    assert compare_results(one, alike, WIDE).document.candidates[0].tasks[0].rows == 12


def test_another_setting_of_the_answers_is_refused(tmp_path: Path) -> None:
    arguments = {"gen_args_0": {"arg_0": "Q", "arg_1": {"until": ["\n"], "max_gen_toks": 99}}}
    one, other = pair(tmp_path, [True] * 50, [True] * 50, arguments=arguments)
    with pytest.raises(ComparisonError, match="differs in generation_kwargs"):
        compare_results(one, other, WIDE)


def test_other_metrics_are_refused(tmp_path: Path) -> None:
    one, other = pair(tmp_path, [True] * 50, [True] * 50, metrics=["f1"], f1=1.0)
    with pytest.raises(ComparisonError, match=r"differs in (primary_metric|metrics)"):
        compare_results(one, other, WIDE)


def test_shots_that_only_one_file_tells_are_no_difference(tmp_path: Path) -> None:
    source = DATA / "baseline" / "lm_eval"
    shutil.copytree(source, tmp_path / "a")
    shutil.copytree(source, tmp_path / "b")
    for beside in (tmp_path / "b").glob("results_*.json"):
        shots = beside.read_text().replace('"sums_written": 0', '"sums_written": 5')
        assert shots != beside.read_text()
        beside.write_text(shots)
    with pytest.raises(ComparisonError, match=r"sums_written differs in num_fewshot: 0 .* 5"):
        compare_results(tmp_path / "a", tmp_path / "b", WIDE)
    for beside in (tmp_path / "b").glob("results_*.json"):
        beside.unlink()
    assert compare_results(tmp_path / "a", tmp_path / "b", WIDE).document.status == "PASS"


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        (lambda: DATA / "baseline" / "lm_eval", lambda: file_of("candidate", "lm_eval"), "tasks"),
        (lambda: file_of("baseline", "inspect"),
         lambda: file_of("candidate", "nemo_evaluator"), "program"),
    ],
)  # fmt: skip
def test_other_tasks_and_other_programs_are_refused(
    one: Callable[[], Path], other: Callable[[], Path], field: str
) -> None:
    with pytest.raises(ComparisonError) as refused:
        compare_results(one(), other(), WIDE)
    assert refused.value.field == field


def test_too_few_rows_are_refused_unless_they_show_a_loss(tmp_path: Path) -> None:
    right = [True] * 40 + [False] * 10
    with pytest.raises(MarginUnresolvable, match="50 rows are too few for a margin of 1 point"):
        compare_results(*pair(tmp_path, right, right), VerdictSpec())
    lost = [True] * 20 + [False] * 30
    assert compare_results(*pair(tmp_path, right, lost), VerdictSpec()).document.status == "FAIL"


def test_less_is_better_where_it_is(tmp_path: Path) -> None:
    spec = VerdictSpec(margins={"wer": 0.01})
    worse = [float(i % 7) / 10 + 0.2 for i in range(200)]
    one, other = pair(tmp_path, [True] * 200, [True] * 200)
    for path, more in ((one, 0.0), (other, 0.3)):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text(
            "".join(
                json.dumps({**row, "metrics": ["wer"], "wer": mark + more * (i % 3 == 0)}) + "\n"
                for i, (row, mark) in enumerate(zip(rows, worse, strict=True))
            )
        )
    document = compare_results(one, other, spec).document
    [task] = document.candidates[0].tasks
    assert (task.higher_is_better, task.unit, task.margin) == (False, "value", 0.01)
    assert task.difference.value == pytest.approx(0.1, abs=0.01)
    assert document.status == "FAIL"
    better = compare_results(other, one, spec).document
    assert better.status == "PASS"


def test_a_metric_of_the_users_own_is_in_points_if_he_says_so(tmp_path: Path) -> None:
    one, other = pair(tmp_path, [True, False] * 60, [True, False] * 60)
    for path in (one, other):
        path.write_text(path.read_text().replace("exact_match", "own"))
    plain = compare_results(one, other, WIDE).document
    assert plain.candidates[0].all_rows is None and plain.status == "INCONCLUSIVE"
    told = compare_results(one, other, WIDE, declared=Declared(points=["own"])).document
    assert told.status == "PASS" and told.candidates[0].all_rows is not None
