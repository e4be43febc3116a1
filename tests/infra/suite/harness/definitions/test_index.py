from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.contracts.progress import Silent
from infra.store.settings import Settings
from infra.suite.harness.definitions.index import Name, index
from tests.conftest import ROOT
from tests.infra.suite.harness.conftest import Heard

_BUILDS = "lm-eval lists its tasks, once for each version of them"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return definitions that nobody has written to for a while; the tests only read them."""
    files = {
        "a/base.yaml": "include: default_template\ndataset_path: json\n",
        "a/default_template": "tag: [house, rooms]\n",
        "a/one.yaml": "include: base.yaml\ntask: one\n",
        "a/two.yaml": "task: two\ntag: house\nclass: !function two.Two\n",
        "b/all.yaml": "group: all\ntask: [one, two]\n",
        "b/__pycache__/no.yaml": "task: no\n",
        "b/broken.yaml": "task: [",
    }
    root = tmp_path_factory.mktemp("definitions") / "tasks"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    time.sleep(2.1)  # what was just written may be written again
    return root


@pytest.fixture
def edited(folder: Path, tmp_path: Path) -> Path:
    """Return a copy to write to."""
    copy = shutil.copytree(folder, tmp_path / "tasks")
    time.sleep(2.1)
    return copy


def wanted(folder: Path) -> dict[str, Name]:
    return {
        "one": Name("task", str(folder / "a/one.yaml")),
        "house": Name("tag", None, {"one", "two"}),
        "rooms": Name("tag", None, {"one"}),
        "two": Name("class", str(folder / "a/two.yaml")),
        "all": Name("group", str(folder / "b/all.yaml")),
    }


def test_it_is_built_once(folder: Path, settings: Settings) -> None:
    for said in ([_BUILDS], []):
        assert index(folder, settings, heard := Heard()) == wanted(folder)
        assert heard.said == said


@pytest.mark.parametrize(
    ("file", "text", "new"),
    [
        ("a/one.yaml", "include: base.yaml\ntask: eno\n", "eno"),
        ("a/default_template", "tag: [mouse, rooms]\n", "mouse"),
    ],
)
def test_an_edited_file_builds_it_anew(
    edited: Path, settings: Settings, file: str, text: str, new: str
) -> None:
    index(edited, settings, Silent())
    index(edited, settings, heard := Heard())
    assert heard.said == []
    before = (edited / file).stat()
    (edited / file).write_text(text)
    assert (edited / file).stat().st_size == before.st_size
    os.utime(edited / file, ns=(before.st_atime_ns, before.st_mtime_ns))  # not even the time tells
    for _ in range(2):  # not remembered while it may be written again at the same time
        assert new in index(edited, settings, heard := Heard())
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
