"""Which files hold the rows that a definition names, and which of them are in the key."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from infra.contracts.errors import DatasetError
from infra.contracts.progress import Silent
from infra.contracts.specs import DatasetSpec
from infra.store.settings import Settings
from infra.suite.harness.keys import task_keys
from infra.suite.harness.suite import prepare
from tests.infra.suite.harness.conftest import Heard
from tests.infra.suite.harness.own_tasks import DEFINITION, own, rows, write, write_rows
from tests.infra.suite.harness.test_own_tasks import key, prompts_of

IN_A_FOLDER = (
    DEFINITION[: DEFINITION.index("dataset_path")]
    + "dataset_path: ./data\n"
    + DEFINITION[DEFINITION.index("test_split") :]
)


def test_two_tasks_of_one_file_read_each_its_own_part(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    names = ("one", "two")
    for name in names:
        text = DEFINITION.replace("task: house_task", f"task: {name}")
        text = text.replace("dataset_kwargs:\n", f"dataset_kwargs:\n  field: {name}\n")
        (folder / f"{name}.yaml").write_text(text.replace("rows.jsonl", "rows.json"))
    (folder / "rows.json").write_text(json.dumps({"one": rows(11), "two": rows(80)}))
    suite = prepare(own(folder, *names), settings=settings, progress=Silent())
    first = [next(iter(part.tasks.values())).eval_docs[0]["q"] for part in suite.parts.values()]
    assert first == ["What is 11 + 7?", "What is 80 + 7?"]


def test_who_gives_a_file_as_dataset_path_reads_how_to_name_it(
    tmp_path: Path, settings: Settings
) -> None:
    given = IN_A_FOLDER.replace("./data", "./rows.jsonl")
    folder = write(tmp_path / "tasks", given)
    with pytest.raises(DatasetError, match="names a file as its dataset_path") as refused:
        key(folder, settings)
    path, options = re.findall("`(.*?)`", refused.value.remedy)
    write(folder, given.replace("dataset_path: ./rows.jsonl", f"{path}\n{options}"))
    assert len(prompts_of(folder, settings)) == 6


def test_names_that_differ_by_a_slash_are_two_tasks(tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "tasks", DEFINITION.replace("task: house_task", "task: a/b"))
    other = DEFINITION.replace("task: house_task", "task: a-b").replace("Question", "Frage")
    (folder / "other.yaml").write_text(other)
    suite = prepare(own(folder, "a/b", "a-b"), settings=settings, progress=Silent())
    found = [next(iter(part.tasks.values())) for part in suite.parts.values()]
    texts = [task.doc_to_text(task.eval_docs[0]) for task in found]
    assert [text.partition(":")[0] for text in texts] == ["Question", "Frage"]


def test_rows_in_a_file_that_is_named_like_one_of_datasets_count(
    tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "tasks", IN_A_FOLDER)
    (folder / "data").mkdir()
    write_rows(folder / "data" / "train.jsonl", rows(1))
    write_rows(folder / "data" / "cache-test.jsonl", rows())
    before = key(folder, settings)
    assert len(prompts_of(folder, settings)) == 6
    write_rows(folder / "data" / "cache-test.jsonl", rows(50))
    assert key(folder, settings) not in (before, None)


def test_a_file_outside_of_the_folder_that_a_definition_names_counts(
    tmp_path: Path, settings: Settings
) -> None:
    text = DEFINITION.replace("dataset_path: json", "dataset_path: ./data")
    folder = write(tmp_path / "tasks", text.replace("rows.jsonl", f"{tmp_path}/out/rows.jsonl"))
    for place, first in ((folder / "data", 1), (tmp_path / "out", 11)):
        place.mkdir()
        write_rows(place / "rows.jsonl", rows(first))
    before = key(folder, settings)
    assert "11 + 7" in prompts_of(folder, settings)[0]
    write_rows(tmp_path / "out" / "rows.jsonl", rows(50))
    assert key(folder, settings) not in (before, None)


def test_a_folder_in_place_of_a_file_is_said(tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "tasks", DEFINITION.replace("rows.jsonl", "data"))
    (folder / "data").mkdir()
    write_rows(folder / "data" / "rows.json", rows())
    with pytest.raises(DatasetError, match="from data, which is a folder") as refused:
        task_keys(own(folder), settings)
    named = refused.value.remedy.split("`")[1].partition("{test: ")[2].rstrip("}")
    write(folder, DEFINITION.replace("rows.jsonl", named))
    assert len(prompts_of(folder, settings)) == 6


def test_rows_in_place_of_a_format_are_not_called_unused(
    tmp_path: Path, settings: Settings, heard: Heard
) -> None:
    folder = write(tmp_path / "tasks")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    write_rows(elsewhere / "rows.jsonl", rows(70))
    spec = own(folder, datasets={"json": DatasetSpec(path=str(elsewhere))})
    suite = prepare(spec, settings=settings, progress=heard)
    (part,) = suite.parts.values()
    assert next(iter(part.tasks.values())).eval_docs[0]["q"] == "What is 70 + 7?"
    assert [text for text in heard.said if "no task of this run reads" in text] == []


def test_rows_that_a_group_names_for_its_member_are_found_and_read_anew(
    tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "tasks")
    write_rows(other := folder / "other.jsonl", rows(70))
    (folder / "house.yaml").write_text(
        "group: house\naggregate_metric_list:\n  - metric: acc\ntask:\n  - task: house_task\n"
        "    dataset_kwargs: {data_files: {test: other.jsonl}}\n"
    )
    spec = own(folder, "house")

    def first() -> str:
        (part,) = prepare(spec, settings=settings, progress=Silent()).parts.values()
        return str(next(iter(part.tasks.values())).eval_docs[0]["q"])

    before = task_keys(spec, settings)
    assert first() == "What is 70 + 7?"
    stat = other.stat()
    write_rows(other, rows(51))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert task_keys(spec, settings) != before
    assert first() == "What is 51 + 7?"
