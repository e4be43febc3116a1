from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from infra.contracts.errors import DatasetError
from infra.contracts.progress import Silent
from infra.contracts.specs import DatasetSpec, EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import catalog, task_folder
from infra.suite.harness.rows.redirecting import write_definitions
from infra.suite.harness.rows.sources import Rows, find_rows
from tests.infra.suite.harness.conftest import DATA, evaluation

GSM8K = "openai/gsm8k"


def rows_of(spec: EvaluationSpec, settings: Settings) -> tuple[Rows, dict[str, object]]:
    entries = catalog(settings=Settings()).entries([task.name for task in spec.tasks])
    rows = find_rows(entries.values(), spec, settings=settings, progress=Silent())
    folder = write_definitions(entries.values(), rows, settings)
    (file,) = folder.iterdir()
    return rows[GSM8K], yaml.safe_load(file.read_text())


def test_a_definition_says_where_the_rows_are_and_nothing_else(settings: Settings) -> None:
    found, definition = rows_of(
        EvaluationSpec(
            tasks=(TaskSpec(name="gsm8k"),), datasets={GSM8K: DatasetSpec(path=str(DATA / GSM8K))}
        ),
        settings,
    )
    assert found.folder == DATA / GSM8K
    assert definition.pop("include") == str(task_folder() / "gsm8k" / "gsm8k.yaml")
    assert definition.pop("dataset_path") == str(DATA / GSM8K)
    assert definition.pop("dataset_kwargs").keys() == {"cache_dir"}
    assert definition == {}


def test_rows_of_a_task_inside_a_group_cannot_be_taken_from_elsewhere(settings: Settings) -> None:
    entries = {"t0_eval": catalog(settings=Settings())._entry("t0_eval")}
    dataset = "anli"
    spec = EvaluationSpec(
        tasks=(TaskSpec(name="anli_r1"),), datasets={dataset: DatasetSpec(path=str(DATA))}
    )
    rows = {
        leaf.source: Rows(leaf.dataset, DATA, "d", "here", elsewhere=leaf.dataset == dataset)
        for leaf in entries["t0_eval"].leaves
        if leaf.dataset
    }
    assert spec.datasets.keys() <= rows.keys()
    with pytest.raises(DatasetError, match="cannot be taken from elsewhere"):
        write_definitions(entries.values(), rows, settings)


def test_definitions_are_named_by_their_content(settings: Settings, tmp_path: Path) -> None:
    spec = evaluation("gsm8k", "global_mmlu_en")
    entries = catalog(settings=Settings()).entries(["gsm8k", "global_mmlu_en"])
    rows = find_rows(entries.values(), spec, settings=settings, progress=Silent())
    folder = write_definitions(entries.values(), rows, settings)
    assert write_definitions(entries.values(), rows, settings) == folder
    assert len(list(folder.iterdir())) == 8
    other = {**rows, GSM8K: Rows(GSM8K, tmp_path, "other", "there")}
    assert write_definitions(entries.values(), other, settings) != folder
