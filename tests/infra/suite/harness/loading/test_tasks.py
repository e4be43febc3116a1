"""What is said of a task whose own code or definition does not load."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.contracts.errors import TaskCodeError
from infra.contracts.progress import Silent
from infra.store.settings import Settings
from infra.suite.harness.suite import prepare
from tests.infra.suite.harness.own_tasks import CODED, DEFINITION, own, write
from tests.infra.suite.harness.test_own_tasks import UTILS, prompts_of


@pytest.mark.parametrize(
    ("definition", "code", "says", "remedy"),
    [
        (CODED.replace("utils.ask", "utils.nope"), UTILS, "has no function 'nope'", "`!function`"),
        (CODED.replace("utils.ask", "utilz.ask"), UTILS, "module 'utilz'", "`!function`"),
        (CODED.replace("utils.ask", "ask"), UTILS, "no module path", "as `file.function`"),
        (CODED, "def ask(doc:\n", "SyntaxError", "Mend the task's code"),
        (CODED, "raise RuntimeError('no licence')\n", "no licence", "Mend the task's code"),
        (CODED, "import sys\nsys.exit(3)\n", "SystemExit: 3", "Mend the task's code"),
        (CODED, "import not_there\n", "needs what is not installed: not_there", "Install it"),
        (DEFINITION + "doc_to_txt: a\n", UTILS, "does not know: doc_to_txt", "Correct or remove"),
    ],
)
def test_code_that_does_not_load_is_not_blamed_on_the_rows(
    definition: str, code: str, says: str, remedy: str, tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "tasks", definition, utils_py=code)
    with pytest.raises(TaskCodeError) as refused:
        prompts_of(folder, settings)
    assert says in refused.value.fact
    assert remedy in refused.value.remedy


def test_two_tasks_with_modules_of_one_name_beside_them_have_each_its_own(
    tmp_path: Path, settings: Settings
) -> None:
    for name, word in (("one", "Question: "), ("two", "Aufgabe: ")):
        definition = CODED.replace("task: house_task", f"task: {name}")
        folder = write(tmp_path / "tasks" / name, definition)
        (folder / "house_words.py").write_text(f"WORD = {word!r}\n")
        (folder / "utils.py").write_text(
            "import sys, pathlib\nsys.path.insert(0, str(pathlib.Path(__file__).parent))\n"
            "from house_words import WORD\ndef ask(doc):\n    return WORD + doc['q']\n"
        )
    suite = prepare(own(tmp_path / "tasks", "one", "two"), settings=settings, progress=Silent())
    tasks = [next(iter(part.tasks.values())) for part in suite.parts.values()]
    texts = [task.doc_to_text(task.eval_docs[0]) for task in tasks]
    assert texts == ["Question: What is 11 + 7?", "Aufgabe: What is 11 + 7?"]
