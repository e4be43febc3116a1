from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.contracts.progress import Silent
from infra.store.settings import Settings
from infra.suite.harness.definitions.index import Name, index
from tests.conftest import ROOT
from tests.infra.suite.harness.conftest import Heard

_BUILDS = "lm-eval lists its tasks, once for each version of them"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "a/base.yaml": "tag: [house, rooms]\ndataset_path: json\n",
        "a/one.yaml": "include: base.yaml\ntask: one\n",
        "a/two.yaml": "task: two\ntag: house\nclass: !function two.Two\n",
        "b/all.yaml": "group: all\ntask: [one, two]\n",
        "b/__pycache__/no.yaml": "task: no\n",
        "b/broken.yaml": "task: [",
    }
    for name, text in files.items():
        path = tmp_path / "tasks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tasks"


def wanted(folder: Path) -> dict[str, Name]:
    return {
        "one": Name("task", folder / "a/one.yaml"),
        "house": Name("tag", None, {"one", "two"}),
        "rooms": Name("tag", None, {"one"}),
        "two": Name("class", folder / "a/two.yaml"),
        "all": Name("group", folder / "b/all.yaml"),
    }


def test_it_is_built_once(folder: Path, settings: Settings) -> None:
    for said in ([_BUILDS], []):
        assert index(folder, settings, heard := Heard()) == wanted(folder)
        assert heard.said == said


def test_an_edited_file_builds_it_anew(folder: Path, settings: Settings) -> None:
    index(folder, settings, Silent())
    before = (folder / "a/one.yaml").stat()
    (folder / "a/one.yaml").write_text("include: base.yaml\ntask: eno\n")
    os.utime(folder / "a/one.yaml", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    heard = Heard()
    assert "eno" in index(folder, settings, heard)
    assert heard.said == [_BUILDS]


@pytest.mark.parametrize("damage", ["", "{", '{"one": 1}', '{"one": ["task"]}', "[]"])
def test_a_damaged_one_is_built_anew(damage: str, folder: Path, settings: Settings) -> None:
    index(folder, settings, Silent())
    (kept,) = (settings.cache / "task-index").iterdir()
    kept.write_text(damage)
    assert index(folder, settings, Silent()) == wanted(folder)
    assert index(folder, settings, heard := Heard()) == wanted(folder)
    assert heard.said == []


def test_a_cache_that_cannot_be_written_costs_time_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    settings = Settings(cache=tmp_path / "taken")
    for _ in range(2):
        assert index(folder, settings, heard := Heard()) == wanted(folder)
        assert heard.said == [_BUILDS]


def test_a_remembered_one_is_read_without_lm_eval(folder: Path, settings: Settings) -> None:
    index(folder, settings, Silent())
    code = (
        "import sys\nfrom pathlib import Path\nfrom infra.contracts.progress import Silent\n"
        "from infra.store.settings import Settings\n"
        "from infra.suite.harness.definitions.index import index\n"
        "assert len(index(Path(sys.argv[1]), Settings(), Silent())) == 5\n"
        "assert 'lm_eval' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, cwd=ROOT,
        env={**os.environ, "ASSAY_CACHE": str(settings.cache)},
    )  # fmt: skip
