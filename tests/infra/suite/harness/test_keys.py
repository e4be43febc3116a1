from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grimp
import pytest

from infra.contracts.errors import DatasetError
from infra.contracts.progress import Silent
from infra.contracts.specs import DatasetSpec, EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.harness import keys
from infra.suite.harness.definitions.files import task_folder
from infra.suite.harness.definitions.index import index
from infra.suite.harness.keys import CODE, suite_entries, task_keys
from tests.conftest import ROOT
from tests.infra.suite.harness.conftest import DATA, evaluation
from tests.infra.suite.harness.own_tasks import DEFINITION, NAME, own, write

NAMES = ("gsm8k", "global_mmlu_en", "gpqa_main_zeroshot")


def differing(one: EvaluationSpec, other: EvaluationSpec, settings: Settings) -> set[str]:
    left, right = task_keys(one, settings), task_keys(other, settings)
    assert left.keys() == right.keys()
    return {name for name in left if left[name] != right[name]}


def test_one_key_for_each_task_of_the_suite(settings: Settings) -> None:
    keys = task_keys(evaluation("gpqa", "gsm8k"), settings)
    assert len(keys) == len(set(keys.values())) == 16
    assert task_keys(evaluation("gpqa", "gsm8k"), settings) == keys


def test_a_task_with_a_line_of_its_own_follows_that_line() -> None:
    suite = suite_entries(
        evaluation("gpqa", TaskSpec(name="gpqa_main_zeroshot", limit=3)), Settings()
    )
    assert suite["gpqa_main_zeroshot"][1].limit == 3
    assert suite["gpqa_main_n_shot"][1].limit is None


@pytest.mark.parametrize(
    "fields",
    [{"limit": 3}, {"num_fewshot": 2}, {"max_gen_toks": 64}],
    ids=str,
)
def test_a_changed_line_concerns_its_task_alone(fields: dict[str, int], settings: Settings) -> None:
    changed = evaluation(TaskSpec(name="gsm8k", **fields), *NAMES[1:])
    assert differing(evaluation(*NAMES), changed, settings) == {"gsm8k"}


@pytest.mark.parametrize(
    "fields", [{"seed": 5}, {"chat_template": True}, {"system_instruction": "Think."}], ids=str
)
def test_conditions_concern_every_task(fields: dict[str, object], settings: Settings) -> None:
    changed = evaluation(*NAMES, **fields)
    assert differing(evaluation(*NAMES), changed, settings) == set(NAMES)


def test_concurrency_and_the_place_of_equal_rows_concern_none(
    settings: Settings, rows: Callable[..., Path]
) -> None:
    moved = evaluation(*NAMES, data=rows(), concurrency=1)
    assert differing(evaluation(*NAMES), moved, settings) == set()


def test_edited_rows_concern_the_tasks_that_read_them(
    settings: Settings, rows: Callable[..., Path]
) -> None:
    name = "openai/gsm8k/main/test.jsonl"
    edited = rows(**{name: (DATA / name).read_text().replace("#### 1", "#### 2", 1)})
    changed = evaluation(*NAMES, data=edited)
    assert differing(evaluation(*NAMES), changed, settings) == {"gsm8k"}


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_rows_is_refused(folder: str, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("nothing yet")
    datasets = {"openai/gsm8k": DatasetSpec(path=str(tmp_path / folder))}
    with pytest.raises(DatasetError, match="openai/gsm8k") as refused:
        task_keys(EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),), datasets=datasets), settings)
    assert "evaluation.datasets['openai/gsm8k'].path" in refused.value.remedy


def test_keys_are_had_without_lm_eval_once_its_index_is_kept() -> None:
    settings = Settings()  # whose index other tests need, too
    index(task_folder(), settings, Silent())
    script = """
import json, sys
from pathlib import Path
from infra.contracts.specs import EvaluationSpec
from infra.suite.harness.keys import task_keys
from infra.store.settings import Settings
spec = EvaluationSpec.model_validate_json(sys.argv[1])
keys = task_keys(spec, Settings(cache=Path(sys.argv[2])))
print(json.dumps(keys), {"lm_eval", "datasets", "transformers", "huggingface_hub"} & {*sys.modules})
"""
    spec = evaluation(*NAMES)
    ran = subprocess.run(
        [sys.executable, "-c", script, spec.model_dump_json(), str(settings.cache)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split("\n")[0] == f"{json.dumps(task_keys(spec, settings))} set()"


@pytest.mark.parametrize("name", ["numpy", "sacrebleu", "scikit-learn", "jinja2", "python"])
def test_what_marks_an_answer_is_in_every_key(
    name: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = task_keys(evaluation(*NAMES), settings)
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda one: "0" if one == name else version(one)
    )
    if name == "python":
        monkeypatch.setattr(platform, "python_version", lambda: "3.11.0")
    monkeypatch.setattr(keys, "versions", keys.versions.__wrapped__)  # as another process
    after = task_keys(evaluation(*NAMES), settings)
    assert not {*before.values()} & {*after.values()}


def test_a_metric_whose_code_is_on_a_hub_has_no_key(settings: Settings, tmp_path: Path) -> None:
    def key() -> str | None:
        return task_keys(own(tmp_path), settings)[NAME]

    write(tmp_path)
    assert key() is not None
    write(tmp_path, DEFINITION.replace("metric: acc", "metric: seqeval\n    hf_evaluate: true"))
    assert key() is None


IN_NO_KEY = {
    "contracts.commands": "words of remedies",
    "contracts.errors": "what is raised is kept nowhere",
    "contracts.progress": "what is reported",
    "contracts.records": "the shape of what is kept: another one cannot be read",
    "contracts.specs": "all of a spec that matters is in the key as it stands",
    "contracts.wording": "words",
    "conversations.calibration": "loads a tokenizer for the look before a run",
    "engines.embeddings": "its code is in the identity of what embeds",
    "engines.endpoint": "types",
    "engines.load": "how much is sent at a time",
    "engines.retry_after": "how long is waited",
    "engines.registry": "which engine it is: its own conditions tell",
    "machine.energy": "told of the run that asked, and of none that finds its scores",
    "machine.garbage": "frees memory",
    "machine.interrupts": "ends the run: of what was asked by then nothing changes",
    "machine.processes": "runs what retrieves, and what that says is part of the rows",
    "machine.ticker": "what is reported",
    "models.hubs": "commits and content are in the key",
    "models.lfs": "refuses",
    "models.memory_need": "refuses",
    "models.tokenizer": "loads what texts are cut with, and as they were cut they are the rows",
    "models.vocabulary": "refuses",
    "models.weights": "commits and content are in the key",
    "store.content": "digests",
    "store.shared": "brings what others keep under the same keys, held against its digests",
    "store.usage": "who uses what, for who frees it",
    "store.settings": "places",
}
"""Module or package below infra that suite and scoring use → why none of their keys has it."""


def test_code_that_suite_and_scoring_use_is_in_the_key_or_decides_nothing() -> None:
    graph = grimp.build_graph("infra", exclude_type_checking_imports=True)
    ours = {
        module
        for package in ("infra.suite", "infra.scoring")
        for module in {package} | graph.find_descendants(package)
    }
    used = {
        name.removeprefix("infra.")
        for module in ours
        for name in graph.find_modules_directly_imported_by(module) - ours
    }
    covered = {*(part.removesuffix(".py").replace("/", ".") for part in CODE), *IN_NO_KEY}
    without = {
        name
        for name in used
        if not any(name == one or name.startswith(f"{one}.") for one in covered)
    }
    assert without == set()
    assert {part for part in CODE if not (ROOT / "infra" / part).exists()} == set()


def test_every_part_of_the_code_is_in_the_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = task_keys(evaluation(*NAMES), settings)
    assert {"suite", "scoring", "models/chat_template.py"} <= set(CODE)
    monkeypatch.setattr(keys, "CODE", CODE[:-1])
    after = task_keys(evaluation(*NAMES), settings)
    assert all(before[name] != after[name] for name in NAMES)
