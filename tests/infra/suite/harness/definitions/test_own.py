from __future__ import annotations

import pytest

from infra.suite.harness.definitions.files import task_folder
from infra.suite.harness.definitions.own import defines, own_index


@pytest.mark.parametrize("part", ["mmlu", "glue", "squadv2", "agieval", "leaderboard"])
def test_a_folder_is_indexed_as_lm_eval_indexes_it(part: str) -> None:
    from lm_eval.tasks._index import TaskIndex

    kinds = {"TASK": "task", "PY_TASK": "class", "GROUP": "group", "TAG": "tag"}
    folder = task_folder() / part
    theirs = {
        name: (
            kinds[entry.kind.name],
            entry.yaml_path,
            entry.tags if entry.kind.name == "TAG" else set(),
        )
        for name, entry in TaskIndex.build([folder]).items()
    }
    ours = {name: (it.kind, it.definition, it.members) for name, it in own_index(folder)[0].items()}
    assert ours == theirs
    assert ours


@pytest.mark.parametrize(
    ("text", "so"),
    [
        ("task: house\nbroken: [\n", True),
        ("'task' : \"house\"  # mine\n", True),
        ("group: house\n", True),
        ("task: house_two\n", False),
        ("description: house\n", False),
        ("  task: house\n", False),
    ],
)
def test_which_name_a_broken_definition_defines(text: str, so: bool) -> None:
    assert defines(text, "house") is so
