"""A user's own definitions: found, loaded, and anew when anything of theirs has changed."""

from __future__ import annotations

import importlib.util
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
from infra.suite.harness.definitions.catalog import catalog
from infra.suite.harness.keys import task_keys
from infra.suite.harness.remembered import remembered, was_checked
from infra.suite.harness.suite import prepare
from tests.conftest import ROOT
from tests.infra.suite.harness.own_tasks import (
    CODED,
    DEFINITION,
    NAME,
    own,
    rows,
    write,
    write_rows,
)

UTILS = "def ask(doc):\n    return 'Question: ' + doc['q'] + '\\nAnswer:'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "tasks")


def key(folder: Path, settings: Settings) -> str | None:
    return task_keys(own(folder), settings)[NAME]


def rows_marked(folder: Path, settings: Settings) -> dict[str, int]:
    facts = remembered(own(folder), settings, Silent())
    assert facts is not None
    return facts.rows


def prompts_of(folder: Path, settings: Settings) -> list[str]:
    suite = prepare(own(folder), settings=settings, progress=Silent())
    (task,) = suite.parts[NAME].tasks.values()
    return [task.doc_to_text(doc) for doc in task.eval_docs]


def test_a_definition_of_the_users_own_is_loaded_with_the_rows_beside_it(
    folder: Path, settings: Settings
) -> None:
    first, *_ = prompts_of(folder, settings)
    assert first == "Question: What is 11 + 7?\nAnswer:"
    assert rows_marked(folder, settings) == {NAME: 6}
    assert was_checked(own(folder), settings, Silent())


def test_changed_rows_are_another_task_and_are_read(folder: Path, settings: Settings) -> None:
    before = key(folder, settings)
    prompts_of(folder, settings)
    write_rows(folder / "rows.jsonl", rows(first=50))
    assert key(folder, settings) not in (before, None)
    assert not was_checked(own(folder), settings, Silent())
    assert prompts_of(folder, settings)[0] == "Question: What is 50 + 7?\nAnswer:"
    write_rows(folder / "rows.jsonl", rows())
    assert key(folder, settings) == before
    assert prompts_of(folder, settings)[0] == "Question: What is 11 + 7?\nAnswer:"


def test_a_changed_prompt_is_another_task(folder: Path, settings: Settings) -> None:
    before = key(folder, settings)
    write(folder, DEFINITION.replace("Question", "Frage"))
    assert key(folder, settings) not in (before, None)
    assert prompts_of(folder, settings)[0].startswith("Frage: ")


def test_where_equal_definitions_and_rows_lie_decides_nothing(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    assert key(write(tmp_path / "elsewhere"), settings) == key(folder, settings)


def included(folder: Path) -> None:
    write(folder, "include: common/base.yaml\ntask: house_task\n")
    (folder / "common").mkdir(exist_ok=True)
    (folder / "common" / "base.yaml").write_text(DEFINITION.replace("task: house_task\n", ""))


def coded(folder: Path) -> None:
    write(folder, CODED, utils_py=UTILS)


def coded_over_two_files(folder: Path) -> None:
    text = "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n"
    words = "QUESTION = 'Question: '\n"
    write(folder, CODED, words_py=words)
    (folder / "utils.py").write_text(
        f"{text}from words import QUESTION\n"
        "def ask(doc):\n    return QUESTION + doc['q'] + '\\nAnswer:'\n"
    )


def coded_with_a_data_file(folder: Path) -> None:
    write(folder, CODED, words_txt="Question: ")
    (folder / "utils.py").write_text(
        "from pathlib import Path\nWORDS = (Path(__file__).parent / 'words.txt').read_text()\n"
        "def ask(doc):\n    return WORDS + doc['q'] + '\\nAnswer:'\n"
    )


def a_group(folder: Path) -> None:
    write(folder)
    (folder / "group.yaml").write_text(
        "group: house\ntask: [house_task]\naggregate_metric_list:\n  - metric: acc\n"
    )


@pytest.mark.parametrize(
    ("made", "changed"),
    [
        (included, "common/base.yaml"),
        (coded, "utils.py"),
        (coded_over_two_files, "words.py"),
        (coded_with_a_data_file, "words.txt"),
    ],
)
def test_whatever_a_definition_depends_on_is_in_its_key(
    made: Callable[[Path], None], changed: str, folder: Path, settings: Settings
) -> None:
    made(folder)
    before = key(folder, settings)
    assert prompts_of(folder, settings)[0].startswith("Question: ")
    file = folder / changed
    file.write_text(file.read_text().replace("Question", "Aufgabe"))
    assert key(folder, settings) not in (before, None)


def test_a_module_of_the_users_that_is_installed_nowhere_is_in_the_key(
    folder: Path, own_cache: Path, tmp_path: Path
) -> None:
    """Found by PYTHONPATH, and importing itself in a circle, as packages do."""
    package = tmp_path / "path" / "house_words"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from house_words import words\n")
    (package / "words.py").write_text("import house_words, numpy\nQUESTION = 'Question: '\n")
    write(folder, CODED)
    (folder / "utils.py").write_text(
        "from house_words.words import QUESTION\n"
        "def ask(doc):\n    return QUESTION + doc['q'] + '\\nAnswer:'\n"
    )
    code = (
        "import sys\nfrom infra.suite.harness.keys import task_keys\n"
        "from infra.store.settings import Settings\n"
        "from tests.infra.suite.harness.own_tasks import own\n"
        "print(task_keys(own(sys.argv[1]), Settings()))\n"
    )

    def keys() -> str:
        return subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            check=True, capture_output=True, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(package.parent), "ASSAY_CACHE": str(own_cache)},
        ).stdout  # fmt: skip

    before = keys()
    assert keys() == before
    (package / "words.py").write_text("import house_words, numpy\nQUESTION = 'Aufgabe: '\n")
    assert keys() != before


def test_packages_that_lie_in_no_site_packages_are_not_read_through(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    """A path file may put installed packages anywhere; their versions count, not their files."""
    write(folder, CODED, utils_py="import numpy, pandas\n" + UTILS)
    elsewhere = tmp_path / "packages"
    elsewhere.mkdir()
    for name in ("numpy", "pandas"):
        module = importlib.util.find_spec(name)
        assert module is not None
        assert module.origin is not None
        place = Path(module.origin).parent
        (elsewhere / name).symlink_to(place)
        (info,) = place.parent.glob(f"{name}-*.dist-info")
        (elsewhere / info.name).symlink_to(info)
    code = (
        "import sys\nsys.path.insert(0, sys.argv[2])\n"
        "from infra.suite.harness.definitions import dependencies\nfrom pathlib import Path\n"
        "code, packages = {}, set()\n"
        "dependencies._follow(Path(sys.argv[1]), 'utils', None, code, packages)\n"
        "assert [file.name for file in code] == ['utils.py'], len(code)\n"
        "assert packages == {'numpy', 'pandas'}, packages\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(elsewhere)], check=True, cwd=ROOT)


def test_a_groups_own_line_is_in_its_key(folder: Path, settings: Settings) -> None:
    a_group(folder)
    spec = own(folder, "house")
    before = task_keys(spec, settings)
    with (folder / "group.yaml").open("a") as file:
        file.write("    weight_by_size: false\n")
    assert task_keys(spec, settings).keys() == before.keys() == {"house"}
    assert task_keys(spec, settings) != before


def test_an_edited_definition_of_lm_evals_own_is_another_task(
    tmp_path: Path, settings: Settings
) -> None:
    """The user's folder may have a task of the same name, as for lm-eval's --include_path."""
    mine = write(tmp_path / "mine", DEFINITION.replace("house_task", "gsm8k"))
    definition = mine / "house_task.yaml"
    assert catalog(str(mine), settings=settings).names["gsm8k"].definition == definition
    assert catalog(settings=settings).names["gsm8k"].definition != definition
    assert task_keys(own(mine, "gsm8k"), settings)["gsm8k"] is not None


def test_two_tasks_of_one_format_read_each_its_own_rows(folder: Path, settings: Settings) -> None:
    other = DEFINITION.replace("house_task", "other").replace("rows.jsonl", "more.jsonl")
    (folder / "other.yaml").write_text(other)
    write_rows(folder / "more.jsonl", rows(first=80))
    spec = own(folder, NAME, "other")
    before = task_keys(spec, settings)
    suite = prepare(spec, settings=settings, progress=Silent())
    assert [next(iter(p.tasks.values())).eval_docs[0]["q"] for p in suite.parts.values()] == [
        "What is 11 + 7?",
        "What is 80 + 7?",
    ]
    write_rows(folder / "rows.jsonl", rows(first=60))
    after = task_keys(spec, settings)
    assert [name for name in before if before[name] != after[name]] == [NAME]


@pytest.mark.parametrize(
    "source",
    [
        "data_files:\n    test: https://example.invalid/rows.jsonl",
        "data_files: {test: [rows.jsonl, 'hf://datasets/a/b/rows.jsonl']}",
    ],
)
def test_rows_that_nobody_can_tell_have_no_key(
    source: str, folder: Path, settings: Settings
) -> None:
    write(folder, DEFINITION.replace("data_files:\n    test: rows.jsonl", source))
    assert task_keys(own(folder), settings) == {NAME: None}
    assert not was_checked(own(folder), settings, Silent())


def test_rows_that_code_makes_have_no_key_but_are_evaluated(
    folder: Path, settings: Settings
) -> None:
    made = DEFINITION.partition("dataset_path")[0] + "custom_dataset: !function utils.rows\n"
    write(folder, made + DEFINITION[DEFINITION.index("test_split") :])
    (folder / "utils.py").write_text(
        "from datasets import Dataset\n"
        f"def rows(**_):\n    return {{'test': Dataset.from_list({rows()})}}\n"
    )
    assert task_keys(own(folder), settings) == {NAME: None}
    assert len(prompts_of(folder, settings)) == 6
    assert rows_marked(folder, settings) == {NAME: 6}
    assert not was_checked(own(folder), settings, Silent())


@pytest.mark.parametrize("where", ["here", "beside", "both alike"])
def test_relative_rows_are_found_here_or_beside_the_definition(
    where: str, folder: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = key(folder, settings)
    if where != "beside":
        write_rows(tmp_path / "here" / "rows.jsonl", rows())
    if where == "here":
        (folder / "rows.jsonl").unlink()
    assert key(folder, settings) == before
    assert len(prompts_of(folder, settings)) == 6


def test_two_files_that_could_be_meant_are_refused(
    folder: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", rows(first=2))
    with pytest.raises(DatasetError, match="two could be meant") as refused:
        key(folder, settings)
    assert str(tmp_path) in refused.value.fact
    assert str(folder) in refused.value.fact


def test_rows_that_are_not_there_are_refused(folder: Path, settings: Settings) -> None:
    (folder / "rows.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"rows.jsonl, but there is no such file") as refused:
        key(folder, settings)
    assert str(folder) in refused.value.cause


@pytest.mark.parametrize("wanted", ["*.jsonl", "['rows.jsonl']", "{test: 'row?.jsonl'}"])
def test_rows_may_be_named_in_every_way_that_datasets_knows(
    wanted: str, folder: Path, settings: Settings
) -> None:
    text = DEFINITION.replace("data_files:\n    test: rows.jsonl", f"data_files: {wanted}")
    text = text.replace("test_split: test", "test_split: train") if "test:" not in wanted else text
    write(folder, text.replace("data_files: *", "data_files: '*").replace("jsonl\n", "jsonl'\n", 1)
          if wanted.startswith("*") else text)  # fmt: skip
    before = key(folder, settings)
    assert len(prompts_of(folder, settings)) == 6
    write_rows(folder / "rows.jsonl", rows(first=3))
    assert key(folder, settings) not in (before, None)


def test_a_folder_of_rows_beside_the_definition(folder: Path, settings: Settings) -> None:
    (folder / "data").mkdir()
    (folder / "rows.jsonl").rename(folder / "data" / "test.jsonl")
    start, end = DEFINITION.index("dataset_path"), DEFINITION.index("test_split")
    write(folder, f"{DEFINITION[:start]}dataset_path: ./data\n{DEFINITION[end:]}")
    before = key(folder, settings)
    assert len(prompts_of(folder, settings)) == 6
    write_rows(folder / "data" / "test.jsonl", rows(first=3))
    assert key(folder, settings) not in (before, None)


# What can be wrong with a folder of definitions


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"include_path should be a folder"):
        catalog(str(tmp_path / "nowhere"), settings=Settings())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("task: [house_task", "is no YAML"),
        ("- house_task", "holds a list"),
        ("task: house_task\ninclude: nowhere.yaml\n", "nowhere.yaml cannot be read"),
        ("task: house_task\ninclude: house_task.yaml\n", "includes itself"),
    ],
)
def test_a_broken_definition_is_said_where_its_task_is_wanted(
    text: str, says: str, folder: Path
) -> None:
    write(folder, text)
    with pytest.raises(EvaluationError, match=says):
        catalog(str(folder), settings=Settings()).entries([NAME])
    assert catalog(str(folder), settings=Settings()).entries(["gsm8k"])


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123\n"


@pytest.mark.parametrize("file", ["rows.jsonl", "house_task.yaml", "data/test.jsonl"])
def test_a_pointer_of_git_lfs_is_named_as_such(file: str, folder: Path, settings: Settings) -> None:
    spec = own(folder)
    if file.startswith("data"):
        (folder / "data").mkdir()
        spec = EvaluationSpec(
            tasks=(TaskSpec(name="gsm8k"),),
            datasets={"openai/gsm8k": DatasetSpec(path=str(folder / "data"))},
        )
    (folder / file).write_text(POINTER)
    with pytest.raises(EvaluationError, match="Git LFS pointer") as refused:
        task_keys(spec, settings)
    assert "git lfs pull" in refused.value.remedy


def test_one_name_for_two_definitions_is_refused(folder: Path) -> None:
    (folder / "newer.yaml").write_text(DEFINITION.replace("Question", "Frage"))
    with pytest.raises(EvaluationError, match="defines the task house_task twice") as refused:
        catalog(str(folder), settings=Settings()).entries([NAME])
    assert "newer.yaml" in refused.value.fact
    assert catalog(str(folder), settings=Settings()).entries(["gsm8k"])


def test_an_unknown_name_says_where_definitions_are_found(folder: Path) -> None:
    (folder / "house_task.yaml").rename(folder / "house_task.yml")
    with pytest.raises(UnknownTask) as refused:
        catalog(str(folder), settings=Settings()).entries([NAME])
    assert "*.yaml" in refused.value.remedy
    with pytest.raises(UnknownTask) as refused:
        catalog(settings=Settings()).entries([f"{folder}/house_task.yaml"])
    assert "evaluation.include_path" in refused.value.remedy
