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
from infra.suite.harness.definitions.index import Name, entries, index
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


@pytest.fixture
def intricate(tmp_path: Path) -> Path:
    """Return definitions that include each other in every way, some of them in vain."""
    root = tmp_path / "intricate"
    (root / "below").mkdir(parents=True)
    (tmp_path / "elsewhere.yaml").write_text("include: intricate/common\ntask: afar\ntag: far\n")
    for name, text in {
        "common": "tag: common\ndataset_path: json\ntask_list: [no]\n",
        "nested": "include: common\ndoc_to_text: '{{question}}'\nmetric_list: [{metric: acc}]\n",
        "first.yaml": "include: nested\ntask: first\n",
        "second.yaml": "include: [nested, below/other]\ntask: second\nclass: !function a.B\n",
        "third.yaml": f"include: {root}/below/../nested\ntask: third\ntag: [own, common]\n",
        "below/other": "group: included\ntask: [first]\ntag: other\nfunction: !function code.f\n",
        "below/fourth.yaml": "include: ../nested\ntask: fourth\ntask_list: [{task: kept}]\n",
        "below/code_of_two.yaml": "include: other\n",
        "twice.yaml": "include: [common, nested]\ntask: twice\n",
        "spelled.yaml": "include: [common, below/../common]\ntask: spelled\n",
        "before.yaml": "include: own_list.yaml\ntask: before\n",
        "own_list.yaml": "task: listed\ntask_list: [{task: kept}]\n",
        "itself.yaml": "include: itself.yaml\ntask: itself\n",
        "round.yaml": "include: about\ntask: round\n",
        "about": "include: round.yaml\n",
        "missing.yaml": "include: nowhere\ntask: missing\n",
        "list.yaml": "[1, 2]\n",
        "number.yaml": "include: 3\ntask: number\n",
        "nothing.yaml": "include: common\n",
        "same_name.yaml": "include: nested\ntask: first\n",
    }.items():
        (root / name).write_text(text)
    (root / "a_link.yaml").symlink_to(root / "below" / "fourth.yaml")
    (root / "outside.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    return root


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


def test_it_is_what_lm_eval_finds(intricate: Path, folder: Path) -> None:
    from lm_eval.tasks._index import TaskIndex

    for root in (intricate, folder):
        assert list(entries(root).items()) == list(TaskIndex.build([root]).items())
    found = entries(intricate)
    assert found["second"].cfg["function"] == str(intricate / "below" / "code.f")
    assert found["fourth"].yaml_path == intricate / "a_link.yaml"
    assert set(found) == {
        *("first", "second", "third", "fourth", "afar", "before", "listed", "included"),
        *("own", "common", "other", "far"),
    }


@pytest.mark.long
def test_it_is_what_lm_eval_finds_in_its_own_definitions() -> None:
    import lm_eval.tasks
    from lm_eval.tasks._index import TaskIndex

    root = Path(lm_eval.tasks.__file__).parent
    assert list(entries(root).items()) == list(TaskIndex.build([root]).items())


def test_what_many_include_is_parsed_once(intricate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.tasks import _yaml_loader

    parsed, load = [], _yaml_loader.load_yaml

    def counted(path: Path, **how: bool) -> dict[str, object]:
        parsed.append(path)
        return load(path, **how)

    monkeypatch.setattr(_yaml_loader, "load_yaml", counted)
    entries(intricate)
    assert parsed.count(intricate / "nested") == parsed.count(intricate / "common") == 1
