from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.contracts.errors import DatasetError, EvaluationError, UnknownTask
from infra.contracts.progress import Silent
from infra.contracts.specs import DatasetSpec, EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.harness.prepared import check_suite, prepared
from infra.suite.harness.suite import prepare
from tests.infra.suite.harness.conftest import DATA, Heard, evaluation

GSM8K = "openai/gsm8k"
TEST_ROWS = "openai/gsm8k/main/test.jsonl"


def refusal(spec: EvaluationSpec, settings: Settings) -> EvaluationError:
    with pytest.raises(EvaluationError) as refused:
        prepare(spec, settings=settings, progress=Silent())
    return refused.value


def test_a_tag_a_group_and_a_task_become_parts(settings: Settings, heard: Heard) -> None:
    spec = evaluation(
        TaskSpec(name="gsm8k", limit=5, num_fewshot=2, max_gen_toks=33), "global_mmlu_en"
    )
    suite = prepare(spec, settings=settings, progress=heard)
    assert suite.names == ("gsm8k", "global_mmlu_en")
    (gsm8k,) = suite.parts["gsm8k"].tasks.values()
    assert gsm8k.config.num_fewshot == 2
    assert gsm8k.config.generation_kwargs["max_gen_toks"] == 33
    assert gsm8k.config.generation_kwargs["until"] == ["Question:", "</s>", "<|im_end|>"]
    assert len(suite.parts["global_mmlu_en"].tasks) == 6
    assert ("tasks loaded", 7, 7, "tasks") in heard.updates
    assert (
        "no task of this run reads Idavidrein/gpqa; they read CohereLabs/Global-MMLU-Lite, "
        "openai/gsm8k"
    ) in heard.said


def test_documents_of_a_task_that_draws_nothing_are_the_rows(settings: Settings) -> None:
    suite = prepare(evaluation("global_mmlu_en"), settings=settings, progress=Silent())
    documents = suite.parts["global_mmlu_en"].tasks["global_mmlu_en_stem"].eval_docs.to_list()
    lines = (DATA / "CohereLabs/Global-MMLU-Lite/en/test.jsonl").read_text().splitlines()
    assert [d["sample_id"] for d in documents] == [
        line.split('"')[3] for line in lines if '"subject_category": "STEM"' in line
    ]


def test_rows_edited_in_place_are_noticed(settings: Settings, rows: Callable[..., Path]) -> None:
    data = rows()

    def first() -> str:
        suite = prepare(evaluation("gsm8k", data=data), settings=settings, progress=Silent())
        (task,) = suite.parts["gsm8k"].tasks.values()
        return str(task.eval_docs[0]["question"])

    before, path = first(), data / TEST_ROWS
    stat = path.stat()
    path.write_text(path.read_text().replace(before[:9], before[:9][::-1], 1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # not even the time tells
    assert first() == before[:9][::-1] + before[9:]


def test_two_folders_of_one_name_are_two_datasets(
    settings: Settings, tmp_path: Path, rows: Callable[..., Path]
) -> None:
    import shutil

    other = tmp_path / "other" / "gsm8k"
    shutil.copytree(rows() / GSM8K, other)
    (other / "main" / "test.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n')

    def questions(folder: Path) -> int:
        spec = EvaluationSpec(
            tasks=(TaskSpec(name="gsm8k"),), datasets={GSM8K: DatasetSpec(path=str(folder))}
        )
        suite = prepare(spec, settings=settings, progress=Silent())
        return len(suite.parts["gsm8k"].tasks["gsm8k"].eval_docs)

    assert (questions(DATA / GSM8K), questions(other), questions(DATA / GSM8K)) == (400, 1, 400)


def test_unknown_task(settings: Settings) -> None:
    assert isinstance(refusal(evaluation("gsm9k"), settings), UnknownTask)


def test_an_empty_split(settings: Settings, rows: Callable[..., Path]) -> None:
    error = refusal(evaluation("gsm8k", data=rows(**{TEST_ROWS: ""})), settings)
    assert isinstance(error, DatasetError)
    assert GSM8K in error.fact


def test_a_category_without_rows(settings: Settings, rows: Callable[..., Path]) -> None:
    name = "CohereLabs/Global-MMLU-Lite/en/test.jsonl"
    kept = [line for line in (DATA / name).read_text().splitlines() if '"STEM"' not in line]
    error = refusal(evaluation("global_mmlu_en", data=rows(**{name: "\n".join(kept)})), settings)
    assert isinstance(error, DatasetError)
    named = "CohereLabs/Global-MMLU-Lite", "'test'", "global_mmlu_en_stem"
    assert all(part in error.fact for part in named)


def test_a_missing_split(settings: Settings, rows: Callable[..., Path]) -> None:
    data = rows()
    readme = data / GSM8K / "README.md"
    readme.write_text(readme.read_text().replace("split: test", "split: validation"))
    error = refusal(evaluation("gsm8k", data=data), settings)
    assert isinstance(error, DatasetError)
    assert f"{GSM8K} has no split 'test', which gsm8k reads" in error.fact


def test_a_missing_configuration(settings: Settings, rows: Callable[..., Path]) -> None:
    data = rows()
    (data / GSM8K / "README.md").unlink()
    error = refusal(evaluation("gsm8k", data=data), settings)
    assert isinstance(error, DatasetError)
    assert "configuration main" in error.fact
    assert "configs:" in error.remedy


@pytest.mark.parametrize(
    ("task", "files", "column"),
    [
        ("gsm8k", [TEST_ROWS, TEST_ROWS.replace("test", "train")], '"question":'),
        ("gpqa_main_zeroshot", ["Idavidrein/gpqa/gpqa_main.csv"], "Correct Answer"),
    ],
)
def test_rows_of_another_shape(
    task: str, files: list[str], column: str, settings: Settings, rows: Callable[..., Path]
) -> None:
    other = column.replace("e", "E")
    renamed = {file: (DATA / file).read_text().replace(column, other) for file in files}
    error = refusal(evaluation(task, data=rows(**renamed)), settings)
    assert isinstance(error, DatasetError)
    assert "another shape" in error.fact
    assert other.strip('":') in error.cause


def test_splits_of_different_shapes(settings: Settings, rows: Callable[..., Path]) -> None:
    text = (DATA / TEST_ROWS).read_text().replace('"question":', '"problem":')
    error = refusal(evaluation("gsm8k", data=rows(**{TEST_ROWS: text})), settings)
    assert isinstance(error, DatasetError)
    assert "problem" in error.fact


def test_more_worked_examples_than_rows(settings: Settings) -> None:
    line = TaskSpec(name="global_mmlu_en", num_fewshot=64)
    error = refusal(evaluation(line), settings)
    assert isinstance(error, DatasetError)
    assert "split 'dev'" in error.fact


def test_examples_that_a_task_never_shows_are_noted(settings: Settings) -> None:
    line = TaskSpec(name="gpqa_main_zeroshot", num_fewshot=3, limit=4)
    suite = prepare(evaluation(line), settings=settings, progress=Silent())
    assert suite.notes == (
        "gpqa_main_zeroshot is defined without worked examples; num_fewshot=3 is moot",
    )
    assert suite.parts["gpqa_main_zeroshot"].tasks["gpqa_main_zeroshot"].config.num_fewshot == 0


def test_all_arms_of_a_process_have_the_very_same_suite(settings: Settings) -> None:
    spec = evaluation(TaskSpec(name="gsm8k", limit=3))
    first = prepared(spec, settings=settings, progress=Silent())
    assert prepared(spec, settings=settings, progress=Silent()) is first
    other = evaluation(TaskSpec(name="gsm8k", limit=4))
    assert prepared(other, settings=settings, progress=Silent()) is not first


def test_a_suite_is_checked_once_for_the_same_rows(
    own_cache: Path, settings: Settings, rows: Callable[..., Path]
) -> None:
    data = rows()
    spec = evaluation(TaskSpec(name="gsm8k", limit=3), data=data)
    script = """
import sys
from pathlib import Path
from infra.contracts.specs import EvaluationSpec
from infra.suite.harness.prepared import check_suite
from infra.contracts.progress import Silent
from infra.store.settings import Settings
spec = EvaluationSpec.model_validate_json(sys.argv[1])
check_suite(spec, settings=Settings(cache=Path(sys.argv[2])), progress=Silent())
print("lm_eval" in sys.modules)
"""

    def loaded() -> str:
        return subprocess.run(
            [sys.executable, "-c", script, spec.model_dump_json(), str(own_cache)],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    assert (loaded(), loaded()) == ("True", "False")
    (data / TEST_ROWS).write_text("")
    with pytest.raises(DatasetError):
        check_suite(spec, settings=settings, progress=Silent())
