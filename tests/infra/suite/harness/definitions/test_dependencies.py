"""What a definition depends on, wherever it lies: all of it is in the task's key."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.contracts.errors import EvaluationError
from infra.store.settings import Settings
from infra.suite.harness.keys import task_keys
from tests.infra.suite.harness.own_tasks import (
    CODED,
    DEFINITION,
    NAME,
    own,
    rows,
    write,
    write_rows,
)
from tests.infra.suite.harness.test_own_tasks import UTILS, key, prompts_of

UNNAMED = CODED.replace("task: house_task\n", "")
BESIDE = (
    "from pathlib import Path\nWORDS = (Path(__file__).parent / 'words.txt').read_text()\n"
    "def ask(doc):\n    return WORDS + doc['q'] + '\\nAnswer:'\n"
)


def test_a_linked_definition_depends_on_what_stands_beside_its_target(
    tmp_path: Path, settings: Settings
) -> None:
    shared = write(tmp_path / "shared", CODED, utils_py=UTILS)
    (folder := tmp_path / "tasks").mkdir()
    (folder / "mine.yaml").symlink_to(shared / "house_task.yaml")
    before = key(folder, settings)
    assert prompts_of(folder, settings)[0].startswith("Question: ")
    (shared / "utils.py").write_text(UTILS.replace("Question", "Aufgabe"))
    assert key(folder, settings) not in (before, None)


@pytest.mark.parametrize("include_path", ["tasks", "other/../tasks"])
def test_a_file_beside_code_of_an_included_folder_counts(
    include_path: str, tmp_path: Path, settings: Settings
) -> None:
    shared = write(tmp_path / "shared", UNNAMED, utils_py=BESIDE, words_txt="Question: ")
    (folder := tmp_path / "tasks").mkdir()
    (tmp_path / "other").mkdir()
    (folder / "mine.yaml").write_text("include: ../shared/house_task.yaml\ntask: house_task\n")
    before = key(tmp_path / include_path, settings)
    (shared / "words.txt").write_text("Aufgabe: ")
    assert key(tmp_path / include_path, settings) not in (before, None)


def from_a_file(tmp_path: Path) -> str:
    (tmp_path / "words.txt").write_text("Question: ")
    return f"__import__('pathlib').Path('{tmp_path / 'words.txt'}').read_text()"


def from_a_file_above(_: Path) -> str:
    return "(__import__('pathlib').Path(__file__).parent.parent / 'words.txt').read_text()"


def from_the_environment(_: Path) -> str:
    return "os.environ['HOUSE_WORD']"


def from_a_call(_: Path) -> str:
    return "os.getenv('HOUSE_WORD', '')"


@pytest.mark.parametrize(
    "read", [from_a_file, from_a_file_above, from_the_environment, from_a_call]
)
def test_what_code_spells_out_that_it_reads_counts(
    read: Callable[[Path], str],
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write(tmp_path / "tasks" / "one", CODED)
    (tmp_path / "tasks" / "words.txt").write_text("Question: ")
    monkeypatch.setenv("HOUSE_WORD", "Question: ")
    (folder / "utils.py").write_text(
        f"import os\ndef ask(doc):\n    return {read(tmp_path)} + doc['q'] + '\\nAnswer:'\n"
    )
    before = key(tmp_path / "tasks", settings)
    assert prompts_of(tmp_path / "tasks", settings)[0].startswith("Question: ")
    monkeypatch.setenv("HOUSE_WORD", "Aufgabe: ")
    for place in (tmp_path, tmp_path / "tasks"):
        (place / "words.txt").write_text("Aufgabe: ")
    assert prompts_of(tmp_path / "tasks", settings)[0].startswith("Aufgabe: ")
    assert key(tmp_path / "tasks", settings) not in (before, None)


@pytest.mark.parametrize("file", ["utils.py", "edited_words.py"])
def test_code_that_was_edited_is_read_whatever_its_time_says(
    file: str, tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "tasks", CODED)
    (folder / "edited_words.py").write_text("QUESTION = 'Question: '\n")
    (folder / "utils.py").write_text(
        "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n"
        "from edited_words import QUESTION\nMARK = 'Question'\n"
        "def ask(doc):\n    return QUESTION + MARK + doc['q'] + '\\nAnswer:'\n"
    )
    before = key(folder, settings), prompts_of(folder, settings)
    stat = (folder / file).stat()
    (folder / file).write_text((folder / file).read_text().replace("'Question", "'Aufgaben"))
    os.utime(folder / file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = key(folder, settings), prompts_of(folder, settings)
    assert after[0] != before[0]
    assert [text.replace("Aufgaben", "Question") for text in after[1]] == before[1] != after[1]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (
            "custom_dataset: !function utils.rows\n",
            "from datasets import Dataset\ndef rows(**_):\n    return {'test': Dataset.from_list"
            f"({rows(70)})}}\n",
        ),
        (
            "class: !function utils.Own\n",
            "from lm_eval.api.task import ConfigurableTask\nclass Own(ConfigurableTask):\n"
            "    def __init__(self, config):\n        config.pop('class', None)\n"
            "        super().__init__(config=config)\n",
        ),
    ],
)
def test_rows_that_code_may_make_have_no_key_whatever_dataset_is_named(
    more: str, code: str, tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "tasks", DEFINITION + more, utils_py=code)
    assert task_keys(own(folder), settings) == {NAME: None}
    assert len(prompts_of(folder, settings)) == 6


def test_a_task_that_is_written_out_in_its_group_has_no_key(
    tmp_path: Path, settings: Settings
) -> None:
    """lm-eval loads it as it stands there, from what its dataset then holds."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    write_rows(tmp_path / "rows.jsonl", rows())
    text = DEFINITION.replace("rows.jsonl", str(tmp_path / "rows.jsonl"))
    inline = "".join(f"    {line}\n" for line in text.splitlines()[1:])
    (folder / "house.yaml").write_text(
        "group: house\naggregate_metric_list:\n  - metric: acc\ntask:\n  - task: within\n" + inline
    )
    assert task_keys(own(folder, "house"), settings) == {"house": None}


@pytest.mark.parametrize("where", ["more/words.txt", "words.yaml"])
def test_whatever_stands_beside_code_counts_unless_it_is_a_definition(
    where: str, tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "tasks", CODED, utils_py=UTILS)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (folder / "more").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(folder)
    (folder / where).write_text("said: Question\n")
    before = key(folder, settings)
    (folder / "other.yaml").write_text(DEFINITION.replace("house_task", "other"))
    assert key(folder, settings) == before
    (folder / where).write_text("said: Aufgabe\n")
    assert key(folder, settings) not in (before, None)


@pytest.mark.parametrize(("file", "refused"), [("seen.log", False), ("seen.txt", True)])
def test_code_that_writes_beside_itself_is_refused_unless_it_is_a_log(
    file: str, refused: bool, tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "tasks", CODED)
    (folder / "utils.py").write_text(
        "from pathlib import Path\nwith (Path(__file__).parent / '" + file + "').open('a') as log:"
        "\n    log.write(Path('/proc/self/status').read_text())\n" + UTILS
    )
    before = key(folder, settings)
    if refused:
        with pytest.raises(EvaluationError, match="changed while the tasks were loaded") as error:
            prompts_of(folder, settings)
        assert "let it write elsewhere, or to a *.log file" in error.value.remedy
    else:
        assert len(prompts_of(folder, settings)) == 6
        assert key(folder, settings) == before
