from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infra.contracts.errors import DatasetError
from infra.contracts.progress import Silent
from infra.contracts.specs import DatasetSpec, EvaluationSpec, TaskSpec
from infra.store.settings import Settings
from infra.suite.harness.definitions.catalog import catalog
from infra.suite.harness.rows.redirecting import write_definitions
from infra.suite.harness.rows.sources import Rows, find_rows
from infra.suite.harness.suite import prepare
from tests.infra.suite.harness.conftest import DATA
from tests.stub_hub import Repo, StubHub, running

GSM8K = "openai/gsm8k"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope"))
        yield hub


def repo(branch: str) -> Repo:
    folder = DATA / GSM8K
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return Repo(files, branch=branch)


def mirrored(source: str) -> EvaluationSpec:
    return EvaluationSpec(
        tasks=(TaskSpec(name="gsm8k", limit=2),),
        datasets={GSM8K: DatasetSpec(path="our/mirror", source=source)},
    )


def rows_of(spec: EvaluationSpec, settings: Settings) -> tuple[Rows, dict[str, object]]:
    entries = catalog(settings=Settings()).entries([task.name for task in spec.tasks])
    rows = find_rows(entries.values(), spec, settings=settings, progress=Silent())
    folder = write_definitions(entries.values(), rows, settings)
    (file,) = folder.iterdir()
    return rows[GSM8K], yaml.safe_load(file.read_text())


@pytest.mark.parametrize(("source", "branch"), [("huggingface", "main"), ("modelscope", "master")])
def test_rows_of_a_hub(source: str, branch: str, hub: StubHub, settings: Settings) -> None:
    there = hub.repos["datasets/our/mirror"] = repo(branch)
    suite = prepare(mirrored(source), settings=settings, progress=Silent())
    (task,) = suite.parts["gsm8k"].tasks.values()
    assert len(task.eval_docs) == 400
    assert suite.rows[GSM8K].origin == f"{source}:our/mirror@{there.commit}"


@pytest.mark.parametrize(("gated", "word"), [(True, "access"), (False, "no dataset")])
def test_a_hub_that_does_not_give_them(
    gated: bool, word: str, hub: StubHub, settings: Settings
) -> None:
    if gated:
        hub.repos["datasets/our/mirror"] = Repo({"a.csv": b"a"}, gated=True)
    with pytest.raises(DatasetError, match=word) as refused:
        rows_of(mirrored("huggingface"), settings)
    assert GSM8K in refused.value.fact
    assert "evaluation.datasets" in refused.value.remedy


def test_rows_that_lm_eval_fetches_are_pinned_to_what_the_hub_has_now(
    hub: StubHub, settings: Settings
) -> None:
    there = hub.repos[f"datasets/{GSM8K}"] = repo("main")
    spec = EvaluationSpec(tasks=(TaskSpec(name="gsm8k"),))
    found, definition = rows_of(spec, settings)
    assert (found.folder, found.digest) == (None, there.commit)
    assert definition["dataset_kwargs"] == {"revision": there.commit}
    assert "dataset_path" not in definition
