from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from infra.contracts.progress import Silent
from infra.contracts.specs import DatasetSpec, EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.harness.keys import task_keys
from infra.suite.harness.suite import prepare
from tests.infra.suite.harness.conftest import DATA
from tests.infra.suite.harness.own_tasks import DEFINITION, NAME, own, rows, write

GSM8K = "openai/gsm8k"


def gsm8k(folder: Path) -> EvaluationSpec:
    return EvaluationSpec(
        tasks=(TaskSpec(name="gsm8k"),), datasets={GSM8K: DatasetSpec(path=str(folder))}
    )


def count(spec: EvaluationSpec, settings: Settings) -> int:
    suite = prepare(spec, settings=settings, progress=Silent())
    ((task,),) = [part.tasks.values() for part in suite.parts.values()]
    return len(task.eval_docs)


def splits(size: int = 20) -> DatasetDict:
    return DatasetDict(
        {
            name: Dataset.from_json(str(DATA / GSM8K / "main" / f"{name}.jsonl")).select(
                range(size)
            )
            for name in ("train", "test")
        }
    )


@pytest.mark.parametrize("below", ["", "main"])
def test_a_folder_that_save_to_disk_wrote(below: str, tmp_path: Path, settings: Settings) -> None:
    splits().save_to_disk(tmp_path / "rows" / below)
    spec = gsm8k(tmp_path / "rows")
    before = task_keys(spec, settings)
    files = sorted((tmp_path / "rows").rglob("*"))
    assert count(spec, settings) == 20
    assert sorted((tmp_path / "rows").rglob("*")) == files, "reading leaves nothing behind"
    assert task_keys(spec, settings) == before
    splits(30).save_to_disk(tmp_path / "other" / below)
    assert task_keys(gsm8k(tmp_path / "other"), settings) != before


def test_a_single_split_that_was_saved(tmp_path: Path, settings: Settings) -> None:
    start, end = DEFINITION.index("dataset_path"), DEFINITION.index("test_split")
    folder = write(
        tmp_path / "tasks", f"{DEFINITION[:start]}dataset_path: ./saved\n{DEFINITION[end:]}"
    )
    Dataset.from_list(rows()).save_to_disk(folder / "saved")
    assert count(own(folder), settings) == 6
    assert task_keys(own(folder), settings)[NAME]


def test_a_loading_script_beside_data_files_is_passed_over(
    tmp_path: Path, settings: Settings
) -> None:
    import shutil

    folder = tmp_path / "gsm8k"
    shutil.copytree(DATA / GSM8K, folder)
    plain = task_keys(gsm8k(folder), settings)
    (folder / "gsm8k.py").write_text("raise SystemExit('this code was run')\n")
    assert task_keys(gsm8k(folder), settings) == plain
    assert count(gsm8k(folder), settings) == 400
